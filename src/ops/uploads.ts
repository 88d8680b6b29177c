import type { IncomingMessage } from 'node:http'
import { YoungMap } from './young.ts'

/** So many times the limit is read and thrown away before the 413, because a sender that is still sending would not see it. */
const drainedTimes = 4
/** What all bodies that are not complete yet may hold in memory. */
export const mostBytes = 64 * 1024 * 1024
/** What a piece of a body takes besides its bytes: one that comes byte by byte is mostly that. */
const pieceBytes = 128

export type ReceivedBody = Buffer | 'too_large' | 'lost'

interface Upload {
  held: number
  readonly end: (body: ReceivedBody) => void
}

/** Bodies on their way in. Anybody can send them, so together they are bounded: beyond, the connection of the oldest is cut. */
export class Uploads {
  readonly #mostBytes: number
  /** A Map keeps the order of insertion: the first is the oldest. */
  readonly #open = new YoungMap<IncomingMessage, Upload>()
  #held = 0

  constructor(limit = mostBytes) {
    this.#mostBytes = limit
  }

  /** What unfinished bodies hold now. */
  get bytes(): number {
    return this.#held
  }

  /** The whole body, `too_large`, or `lost` when the connection ended before the body did. */
  read(request: IncomingMessage, maxBytes: number): Promise<ReceivedBody> {
    const { promise, resolve } = Promise.withResolvers<ReceivedBody>()
    const pieces: Buffer[] = []
    const end = (body: ReceivedBody) => {
      this.#hold(request, 0)
      this.#open.delete(request)
      // The request lives until its answer is out, and its listeners with it.
      pieces.length = 0
      resolve(body)
    }
    this.#open.set(request, { held: 0, end })
    let bytes = 0
    request.on('data', (piece: Buffer) => {
      bytes += piece.length
      if (bytes <= maxBytes) pieces.push(piece)
      else pieces.length = 0
      if (bytes > drainedTimes * maxBytes) end('too_large')
      this.#hold(request, bytes <= maxBytes ? bytes + pieces.length * pieceBytes : 0)
    })
    request.on('end', () => {
      if (bytes > maxBytes) end('too_large')
      else end(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces))
    })
    request.on('close', () => end('lost'))
    request.on('error', () => end('lost'))
    return promise
  }

  #hold(request: IncomingMessage, held: number): void {
    const upload = this.#open.get(request)
    if (upload === undefined) return
    this.#held += held - upload.held
    upload.held = held
    if (this.#held > this.#mostBytes) this.#cutOldest()
  }

  /** A body of Meta's comes whole in some milliseconds: the oldest is somebody else's. */
  #cutOldest(): void {
    for (const [request, { held, end }] of this.#open) {
      if (this.#held <= this.#mostBytes) return
      if (held === 0) continue
      end('lost')
      request.destroy()
    }
  }
}
