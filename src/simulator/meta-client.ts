import http from 'node:http'
import https from 'node:https'
import { type ReadAnswer, type Response, readAnswer } from './answer.ts'
import { BadInput } from './bad-input.ts'
import type { Message } from './message.ts'
import { readPublicKey, type SealedRequest, sealRequest } from './seal.ts'

/** One exchange: what was answered and how long the HTTP part took, from the first byte out to the last byte in. */
export type ExchangeResult = ReadAnswer & { status: number | null; milliseconds: number }

export type MetaClient = {
  /** Seals, sends, decrypts and checks one message. Never rejects: what went wrong is the result's `problem`. */
  exchange(message: Message): Promise<ExchangeResult>
  close(): void
}

export type MetaClientOptions = {
  endpointUri: string
  publicKeyPem: string
  appSecret: string
  /** Meta gives up after 10 s (protocol.md 1.8). */
  timeoutMs?: number
  maxSockets?: number
}

const maxAnswerBytes = 4 * 1024 * 1024

/** Plays Meta's proxy and the phone behind it for one endpoint. Throws BadInput for a URI or key that cannot be used. */
export function createMetaClient(options: MetaClientOptions): MetaClient {
  const endpoint = readEndpointUri(options.endpointUri)
  const publicKey = readPublicKey(options.publicKeyPem)
  const { request, Agent } = endpoint.protocol === 'https:' ? https : http
  const agent = new Agent({ keepAlive: true, maxSockets: options.maxSockets ?? 1024 })
  const timeoutMs = options.timeoutMs ?? 10_000

  async function exchange(message: Message): Promise<ExchangeResult> {
    const sealed = sealRequest(message.text, publicKey, options.appSecret)
    const started = performance.now()
    const response = await post(
      () => request(endpoint, { method: 'POST', agent, headers: headersOf(sealed) }),
      sealed.body,
      timeoutMs,
    )
    const milliseconds = performance.now() - started
    if (typeof response === 'string')
      return { kind: 'lost', status: null, answer: null, milliseconds, problem: response }
    return { ...readAnswer(message.kind, response, sealed.openAnswer), status: response.status, milliseconds }
  }

  return { exchange, close: () => agent.destroy() }
}

/** Throws BadInput unless the text is an http: or https: address. */
export function readEndpointUri(text: string): URL {
  const endpoint = URL.canParse(text) ? new URL(text) : null
  if (endpoint?.protocol === 'http:' || endpoint?.protocol === 'https:') return endpoint
  throw new BadInput('is not an http: or https: address')
}

function headersOf(sealed: SealedRequest): http.OutgoingHttpHeaders {
  return {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(sealed.body),
    'X-Hub-Signature-256': sealed.signature,
  }
}

/** The response, or why there was none. One timer covers connecting, head and body. */
function post(open: () => http.ClientRequest, body: string, timeoutMs: number): Promise<Response | string> {
  return new Promise((resolve) => {
    const outgoing = open()
    const timer = setTimeout(() => end(`no answer within ${timeoutMs} ms`), timeoutMs)
    const end = (result: Response | string) => {
      clearTimeout(timer)
      resolve(result)
      if (typeof result === 'string') outgoing.destroy()
    }
    outgoing.on('error', (error) => end(describeError(error)))
    outgoing.on('response', (incoming) => readBody(incoming, end))
    outgoing.end(body)
  })
}

function readBody(incoming: http.IncomingMessage, end: (result: Response | string) => void): void {
  const chunks: Buffer[] = []
  let size = 0
  incoming.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxAnswerBytes) end(`the answer is larger than ${maxAnswerBytes} bytes`)
  })
  incoming.on('error', (error) => end(describeError(error)))
  incoming.on('end', () => {
    const contentType = incoming.headers['content-type'] ?? ''
    end({ status: incoming.statusCode ?? 0, contentType, body: Buffer.concat(chunks).toString('latin1') })
  })
}

function describeError(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name
  return `no answer: ${code}`
}
