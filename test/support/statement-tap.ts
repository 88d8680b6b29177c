import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A statement as it went over the wire, with the values of one run of it (as text; null: NULL; binary ones in hex). */
export interface TappedStatement {
  readonly text: string
  readonly values: readonly (string | null)[]
}

export interface StatementTap {
  /** The given URL, through the tap. */
  readonly url: string
  /** What ran so far, once for each run. */
  readonly statements: TappedStatement[]
  close(): Promise<void>
}

/** Stands before PostgreSQL and writes down every statement that passes (protocol 3.0, without TLS), whichever code sent it. */
export async function tapStatements(target: string): Promise<StatementTap> {
  const statements: TappedStatement[] = []
  const sockets = new Set<Socket>()
  const { hostname, port } = new URL(target)
  const server = createServer((near) => {
    const far = connect({ host: hostname, port: Number(port) })
    const reader = new FrontendReader((statement) => statements.push(statement))
    for (const socket of [near, far]) {
      sockets.add(socket.setNoDelay(true).on('error', () => undefined))
      socket.on('close', () => sockets.delete(socket))
    }
    near.on('data', (bytes) => reader.read(bytes))
    near.pipe(far).pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = new URL(target)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  return {
    url: url.href,
    statements,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** What a client says: Parse, Bind and Query are all that matters here. */
class FrontendReader {
  readonly #told: (statement: TappedStatement) => void
  readonly #prepared = new Map<string, string>()
  #buffer = Buffer.alloc(0)
  #isStarted = false

  constructor(told: (statement: TappedStatement) => void) {
    this.#told = told
  }

  read(bytes: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, bytes])
    for (;;) {
      // The first message has a length and no type.
      const head = this.#isStarted ? 1 : 0
      if (this.#buffer.length < head + 4) return
      const end = head + this.#buffer.readInt32BE(head)
      if (this.#buffer.length < end) return
      const [type, body] = [String.fromCharCode(this.#buffer[0] ?? 0), this.#buffer.subarray(head + 4, end)]
      this.#buffer = this.#buffer.subarray(end)
      if (this.#isStarted) this.#message(type, body)
      this.#isStarted = true
    }
  }

  #message(type: string, body: Buffer): void {
    if (type === 'Q') this.#told({ text: textAt(body, 0).text, values: [] })
    if (type === 'P') {
      const name = textAt(body, 0)
      this.#prepared.set(name.text, textAt(body, name.end).text)
    }
    if (type === 'B') {
      const name = textAt(body, textAt(body, 0).end)
      this.#told({ text: this.#prepared.get(name.text) ?? '', values: valuesAt(body, name.end) })
    }
  }
}

function textAt(bytes: Buffer, start: number): { text: string; end: number } {
  const end = bytes.indexOf(0, start)
  return { text: bytes.toString('utf8', start, end), end: end + 1 }
}

function valuesAt(bytes: Buffer, start: number): (string | null)[] {
  const formats = Array.from({ length: bytes.readInt16BE(start) }, (_, i) => bytes.readInt16BE(start + 2 + 2 * i))
  let at = start + 2 + 2 * formats.length
  const count = bytes.readInt16BE(at)
  at += 2
  return Array.from({ length: count }, (_, i) => {
    const length = bytes.readInt32BE(at)
    at += 4
    if (length < 0) return null
    const isBinary = (formats.length === 1 ? formats[0] : formats[i]) === 1
    at += length
    return bytes.toString(isBinary ? 'hex' : 'utf8', at - length, at)
  })
}
