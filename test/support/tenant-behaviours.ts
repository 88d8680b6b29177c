import { pipeline } from 'node:stream/promises'
import type { Behaviour } from './tenant.ts'

/** What a FakeTenant can be told to do with a call: good, slow and broken. */

export function reply(json: unknown, status = 200, headers: Record<string, string> = {}): Behaviour {
  return ({ response }) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(json))
  }
}

/** Any body, as text or bytes: `text('[1]')`, `text('<html>', 200, 'text/html')`. */
export function text(body: string | Buffer, status = 200, contentType = 'application/json'): Behaviour {
  return ({ response }) => {
    response.writeHead(status, { 'content-type': contentType }).end(body)
  }
}

export const html = (status = 200): Behaviour => text('<!doctype html><h1>It works!</h1>', status, 'text/html')

/** The whole answer at once, after so many ms. */
export function delayed(ms: number, json: unknown, status = 200): Behaviour {
  return async (call) => {
    await call.pause(ms)
    await reply(json, status)(call)
  }
}

/** The head itself drips: a status line at once, then a header line every `everyMs`, until `lines` are out, then a reply. */
export function slowHead(everyMs: number, lines = 1000): Behaviour {
  return async ({ socket, pause }) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    for (let line = 0; line < lines; line++) {
      await pause(everyMs)
      socket.write(`x-line-${line}: 1\r\n`)
    }
    socket.write('content-length: 11\r\n\r\n{"data":{}}')
  }
}

/** A head at once, then `bytes` of a JSON string every `everyMs`, `times` over. */
export function dripping(bytes: number, everyMs: number, times = 1000): Behaviour {
  return async ({ response, pause }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{"data":{"text":"')
    for (let i = 0; i < times; i++) {
      response.write('x'.repeat(bytes))
      await pause(everyMs)
    }
    response.end('"}}')
  }
}

/** Takes the request and never answers. */
export const silence = (): Behaviour => () => {}

/** RST instead of an answer. */
export const reset = (): Behaviour => (call) => {
  call.socket.resetAndDestroy()
}

/** Head and half a body, then RST. */
export function resetInBody(): Behaviour {
  return async ({ response, socket, pause }) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
    response.write('{"data":{')
    await pause(20)
    socket.resetAndDestroy()
  }
}

/** FIN instead of an answer. */
export const hangUp = (): Behaviour => (call) => {
  call.socket.end()
}

/** A complete JSON body, fewer bytes than `Content-Length` says, then FIN. */
export function truncated(): Behaviour {
  return raw('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"data":{}}', true)
}

export function redirect(location: string, status = 302): Behaviour {
  return ({ response }) => {
    response.writeHead(status, { location }).end()
  }
}

export const noContent =
  (): Behaviour =>
  ({ response }) => {
    response.writeHead(204).end()
  }

/** So many bytes, announced in `Content-Length` or, with `chunked`, not. */
export function huge(bytes: number, options: { chunked?: boolean; status?: number } = {}): Behaviour {
  return async ({ response }) => {
    const length: Record<string, string> = options.chunked ? {} : { 'content-length': String(bytes) }
    response.writeHead(options.status ?? 200, { 'content-type': 'application/json', ...length })
    await pipeline(pieces(bytes), response)
  }
}

function* pieces(bytes: number): Generator<Buffer> {
  const piece = Buffer.alloc(16_384, 'x')
  for (let left = bytes; left > 0; left -= piece.length) yield piece.subarray(0, left)
}

/** Answers as if the connection were to stay, then closes it: the next request on it races with our FIN. */
export function replyThenClose(json: unknown): Behaviour {
  return ({ response, socket }) => {
    const body = JSON.stringify(json)
    const headers = { 'content-type': 'application/json', connection: 'keep-alive' }
    response.writeHead(200, headers).end(body, () => socket.end())
  }
}

/** A good reply with the server's own word on how long it keeps an idle connection; the fake itself keeps it longer. */
export function replyWithHint(seconds: number): Behaviour {
  return raw(`HTTP/1.1 200 OK\r\nkeep-alive: timeout=${seconds}\r\ncontent-length: 11\r\n\r\n{"data":{}}`)
}

/** These bytes and nothing else, past the HTTP server; then FIN if `close`. */
export function raw(bytes: string | Buffer, close = false): Behaviour {
  return ({ socket }) => {
    socket.write(bytes)
    if (close) socket.end()
  }
}
