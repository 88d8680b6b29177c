import { randomBytes } from 'node:crypto'
import http from 'node:http'
import { openAnswer, readPublicKey, sealText, signBody, wrapKey, writeOuter } from '../../src/simulator/seal.ts'

export interface MetaTarget {
  readonly endpointUri: string
  readonly publicKey: string
  readonly appSecret: string
}

/** One call as it went over the wire, so that a test can send it again or spoil it. */
export interface SealedCall {
  readonly body: string | Buffer
  /** Null: no header. */
  readonly signature: string | null
  readonly session: { readonly aesKey: Buffer; readonly iv: Buffer }
}

export interface MetaAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly raw: string
  /** The decrypted text; null for an empty body. An answer that does not decrypt fails the test. */
  readonly text: string | null
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
  readonly answer: any
  readonly ms: number
}

export interface FakeMeta {
  /** Seals a plaintext afresh: an object, or the exact text. */
  seal(plaintext: unknown, options?: { ivBytes?: number }): SealedCall
  send(call: SealedCall, options?: SendOptions): Promise<MetaAnswer>
  call(plaintext: unknown, options?: SendOptions): Promise<MetaAnswer>
  init(flowToken?: string | null, options?: SendOptions): Promise<MetaAnswer>
  exchange(screen: string, payload: unknown, flowToken?: string | null, options?: SendOptions): Promise<MetaAnswer>
}

export interface SendOptions {
  /** Posts to the route that names the flow. */
  readonly metaFlowId?: string
  /** Posts there instead: another process. */
  readonly at?: string
  readonly method?: string
  readonly headers?: Record<string, string>
}

/** Plays Meta for one WABA, on the simulator's own cryptography, which shares no code with Relevo's. Strict: what it cannot decrypt throws. */
export function fakeMeta({ endpointUri, publicKey, appSecret }: MetaTarget): FakeMeta {
  const key = readPublicKey(publicKey)
  const agent = new http.Agent({ keepAlive: true })

  const meta: FakeMeta = {
    seal(plaintext, { ivBytes = 16 } = {}) {
      const session = { aesKey: randomBytes(16), iv: randomBytes(ivBytes) }
      const text = typeof plaintext === 'string' ? plaintext : JSON.stringify(plaintext)
      const body = writeOuter({
        encrypted_flow_data: sealText(text, session).toString('base64'),
        encrypted_aes_key: wrapKey(session.aesKey, key).toString('base64'),
        initial_vector: session.iv.toString('base64'),
      })
      return { body, signature: signBody(body, appSecret), session }
    },
    async send({ body, signature, session }, { metaFlowId, at = endpointUri, method = 'POST', headers = {} } = {}) {
      const url = metaFlowId === undefined ? at : at.replace(/data$/, `${metaFlowId}/data`)
      const startedAt = performance.now()
      const response = await post(url, method, agent, body, {
        'content-type': 'application/json',
        ...(signature === null ? {} : { 'x-hub-signature-256': signature }),
        ...headers,
      })
      const ms = performance.now() - startedAt
      if (response.raw === '') return { ...response, text: null, answer: null, ms }
      const opened = openAnswer(response.raw, session)
      if (!opened.ok) throw new Error(`the answer (${response.status}) does not open: ${opened.problem}`)
      if (response.headers['content-type'] !== 'text/plain; charset=utf-8') throw new Error('wrong content type')
      return { ...response, text: opened.text, answer: JSON.parse(opened.text), ms }
    },
    call: (plaintext, options) => meta.send(meta.seal(plaintext), options),
    init: (flowToken = null, options) =>
      meta.call({ data: {}, flow_token: flowToken ?? undefined, screen: '', action: 'INIT', version: '3.0' }, options),
    exchange: (screen, payload, flowToken = null, options) =>
      meta.call(
        { data: payload, flow_token: flowToken ?? undefined, screen, action: 'data_exchange', version: '3.0' },
        options,
      ),
  }
  return meta
}

function post(
  url: string,
  method: string,
  agent: http.Agent,
  body: string | Buffer,
  headers: Record<string, string>,
): Promise<{ status: number; headers: http.IncomingHttpHeaders; raw: string }> {
  return new Promise((resolve, reject) => {
    const length = { 'content-length': String(Buffer.byteLength(body)) }
    const request = http.request(url, { method, agent, headers: { ...length, ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          raw: Buffer.concat(chunks).toString(),
        }),
      )
    })
    request.on('error', reject)
    request.end(body)
  })
}
