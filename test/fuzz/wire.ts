import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Finding } from './target.ts'

export interface WireRequest {
  readonly method: string
  readonly path: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body?: Uint8Array
  /** In pieces of so many bytes, in place of a Content-Length. */
  readonly chunkBytes?: number
}

export interface WireAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** How long a request that is whole and right may wait for its answer. */
const owedMs = 30_000

/** The bytes of a request, none of them judged. Latin-1, as HTTP's heads are. */
export function bytesOf({ method, path, headers, body, chunkBytes }: WireRequest): Buffer {
  const framing = chunkBytes !== undefined ? ['transfer-encoding: chunked'] : [`content-length: ${body?.length ?? 0}`]
  const lines = [`${method} ${path} HTTP/1.1`, 'host: relevo.test', ...headers.map((pair) => pair.join(': '))]
  const head = Buffer.from(
    `${[...lines, ...(body === undefined && method === 'GET' ? [] : framing)].join('\r\n')}\r\n\r\n`,
    'latin1',
  )
  if (body === undefined) return head
  return Buffer.concat([head, ...(chunkBytes === undefined ? [body] : chunksOf(body, chunkBytes))])
}

function chunksOf(body: Uint8Array, size: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < body.length; at += size) {
    const piece = body.subarray(at, at + size)
    pieces.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'))
  }
  return [...pieces, Buffer.from('0\r\n\r\n')]
}

/** HTTP on bare sockets: requests that no client would make, on connections that are kept. */
export class Wire {
  readonly #url: URL
  readonly #idle: Socket[] = []

  constructor(url: string) {
    this.#url = new URL(url)
  }

  /** A request that is whole: it is owed an answer. Throws a Finding without one. */
  async ask(request: WireRequest): Promise<WireAnswer> {
    const bytes = bytesOf(request)
    const kept = this.#idle.pop()
    // A kept connection may have been closed at this very moment.
    const answer = (kept && (await this.#askOn(kept, bytes))) ?? (await this.#askOn(await this.#open(), bytes))
    if (answer === null) throw new Finding('the connection was closed without an answer')
    return answer
  }

  #askOn(socket: Socket, bytes: Buffer): Promise<WireAnswer | null> {
    return new Promise((resolve, reject) => {
      let received: Buffer = Buffer.alloc(0)
      const end = (answer: WireAnswer | null) => {
        clearTimeout(timer)
        socket.removeAllListeners('data').removeAllListeners('close')
        if (answer === null || answer.headers.connection === 'close') socket.destroy()
        else this.#keep(socket)
        resolve(answer)
      }
      const timer = setTimeout(() => {
        socket.destroy()
        reject(new Finding(`no answer within ${owedMs} ms`))
      }, owedMs)
      socket.on('close', () => end(null))
      socket.on('data', (chunk: Buffer) => {
        received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
        const [answer] = readAnswer(received) ?? []
        if (answer !== undefined) end(answer)
      })
      socket.write(bytes)
    })
  }

  #keep(socket: Socket): void {
    socket.once('close', () => {
      const at = this.#idle.indexOf(socket)
      if (at >= 0) this.#idle.splice(at, 1)
    })
    this.#idle.push(socket)
  }

  /** Any bytes, on a connection of their own, which is hung up after `patienceMs` of silence. All the answers that came. */
  async say(bytes: Uint8Array, patienceMs: number): Promise<WireAnswer[]> {
    const socket = await this.#open()
    const chunks: Buffer[] = []
    const timer = setTimeout(() => socket.destroy(), patienceMs)
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      timer.refresh()
    })
    socket.write(bytes)
    await new Promise((resolve) => socket.once('close', resolve))
    clearTimeout(timer)
    const answers: WireAnswer[] = []
    for (let left = Buffer.concat(chunks); ; ) {
      const read = readAnswer(left)
      if (read === null) return answers
      answers.push(read[0])
      left = left.subarray(read[1])
    }
  }

  async #open(): Promise<Socket> {
    const socket = connect({ port: Number(this.#url.port), host: this.#url.hostname, noDelay: true })
    await once(socket, 'connect')
    // A server may reset what it refused to read.
    return socket.on('error', () => undefined)
  }

  close(): void {
    for (const socket of [...this.#idle]) socket.destroy()
  }
}

/** The first answer in these bytes that is whole and none of the 1xx, and where it ends. */
function readAnswer(bytes: Buffer): [WireAnswer, number] | null {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
  if (Number.isNaN(status)) throw new Finding(`no HTTP: ${statusLine.slice(0, 80)}`)
  const start = headEnd + 4
  if (status < 200) {
    const next = readAnswer(bytes.subarray(start))
    return next && [next[0], next[1] + start]
  }
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  // Only what Node answers by itself comes in chunks.
  const framed = headers['transfer-encoding'] === undefined ? null : readChunks(bytes, start)
  if (framed !== null) return framed.end < 0 ? null : [{ status, headers, body: framed.body }, framed.end]
  const end = start + Number(headers['content-length'] ?? 0)
  return bytes.length < end ? null : [{ status, headers, body: Buffer.from(bytes.subarray(start, end)) }, end]
}

/** `end` -1: there is more to come. */
function readChunks(bytes: Buffer, start: number): { readonly body: Buffer; readonly end: number } {
  const pieces: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const length = lineEnd < 0 ? Number.NaN : Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const next = lineEnd + 2 + length + 2
    if (Number.isNaN(length) || next > bytes.length) return { body: Buffer.alloc(0), end: -1 }
    if (length === 0) return { body: Buffer.concat(pieces), end: next }
    pieces.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length))
    at = next
  }
}
