import type { FastifyReply } from 'fastify'

/** An answer as it leaves. */
export interface SentAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** JSON; null for none. */
  readonly json: string | null
}

/**
 * What becomes of a call that is repeated: it gets the same answer; it is made anew; or, where the first may yet be carried out, it finds
 * that one under way until that must be over.
 */
export type Repetition = 'answered' | 'made_anew' | 'held_off'

export interface Performed {
  readonly answer: SentAnswer
  readonly repetition: Repetition
}

export const jsonType = 'application/json; charset=utf-8'

/** `written`: members that are JSON already and come after those of `body`, an object that has others. */
export function jsonAnswer(
  status: number,
  body: unknown,
  headers: SentAnswer['headers'] = {},
  written: Readonly<Record<string, string>> = {},
): SentAnswer {
  if (body === undefined) return { status, headers, json: null }
  const more = Object.entries(written).map(([name, json]) => `,${JSON.stringify(name)}:${json}`)
  const json = JSON.stringify(body)
  const whole = more.length === 0 ? json : `${json.slice(0, -1)}${more.join('')}}`
  return { status, headers: { 'content-type': jsonType, ...headers }, json: whole }
}

export function sendAnswer(reply: FastifyReply, { status, headers, json }: SentAnswer): FastifyReply {
  return reply
    .code(status)
    .headers(headers)
    .send(json ?? undefined)
}
