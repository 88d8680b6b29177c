import type { FastifyReply } from 'fastify'

/** An answer as it leaves. */
export interface SentAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON; null for none. */
  readonly json: string | null
}

/** An answer, and whether a repetition of the call gets it too or makes the call anew. */
export interface Performed {
  readonly answer: SentAnswer
  readonly isKept: boolean
}

export const jsonType = 'application/json; charset=utf-8'

export function jsonAnswer(status: number, body: unknown, headers: SentAnswer['headers'] = {}): SentAnswer {
  if (body === undefined) return { status, headers, json: null }
  return { status, headers: { 'content-type': jsonType, ...headers }, json: JSON.stringify(body) }
}

export function sendAnswer(reply: FastifyReply, { status, headers, json }: SentAnswer): FastifyReply {
  return reply
    .code(status)
    .headers(headers)
    .send(json ?? undefined)
}
