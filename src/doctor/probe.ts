import http from 'node:http'
import https from 'node:https'

/** An answer as it came, or why there was none. `at`: local time when its head was there, unix ms. */
export type Probed =
  | {
      readonly ok: true
      readonly status: number
      readonly contentType: string
      readonly date: string | null
      readonly at: number
      readonly body: string
      readonly milliseconds: number
    }
  | { readonly ok: false; readonly code: string }

export interface ProbeRequest {
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** What an answer may need: Meta waits as long (protocol.md 1.8). */
const timeoutMs = 10_000
const maxBytes = 1024 * 1024

/**
 * One request to the operator's own URL, on a connection of its own, following nothing. The certificate is looked at elsewhere, so
 * here it does not keep the rest from being told. Never rejects.
 */
export function probe(url: URL, { method, headers = {}, body = '' }: ProbeRequest): Promise<Probed> {
  const { promise, resolve } = Promise.withResolvers<Probed>()
  const started = performance.now()
  const length = method === 'POST' ? { 'content-length': String(Buffer.byteLength(body)) } : {}
  const options = { method, headers: { ...headers, ...length }, agent: false, rejectUnauthorized: false }
  const request = (url.protocol === 'https:' ? https : http).request(url, options, (response) => {
    const at = Date.now()
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size > maxBytes) end({ ok: false, code: 'too_large' })
    })
    response.on('error', (error) => end({ ok: false, code: codeOf(error) }))
    response.on('end', () => {
      const { 'content-type': contentType = '', date = null } = response.headers
      const text = Buffer.concat(chunks).toString('latin1')
      const milliseconds = performance.now() - started
      end({ ok: true, status: response.statusCode ?? 0, contentType, date, at, body: text, milliseconds })
    })
  })
  const timer = setTimeout(() => end({ ok: false, code: 'timeout' }), timeoutMs)
  const end = (result: Probed) => {
    clearTimeout(timer)
    resolve(result)
    request.destroy()
  }
  request.on('error', (error) => end({ ok: false, code: codeOf(error) }))
  request.end(body)
  return promise
}

/** `ECONNREFUSED`, never a message: that may repeat the URL. */
export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : 'unknown'
}
