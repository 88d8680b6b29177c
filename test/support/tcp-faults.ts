import type { Socket } from 'node:net'

/**
 * What is done to the bytes of one direction. `afterBytes` are passed on first, counted from when the fault was set or, later, the
 * connection made; 0: at once, on an idle connection too.
 */
export type Fault =
  /** Each piece comes `ms` later, and up to `jitterMs` more; the order is kept. */
  | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs?: number }
  /** At most so many bytes each so many ms. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  /**
   * reset: RST to both ends. half_close: FIN to the receiver, the other direction goes on. truncate: FIN to both. vanish: read and thrown
   * away, ends too, for good once a byte is lost; when it is lifted the server is reset, and the client hears nothing. hold: not passed on, nor read beyond a buffer; goes on when the fault is lifted.
   */
  | { readonly kind: 'reset' | 'half_close' | 'truncate' | 'vanish' | 'hold'; readonly afterBytes: number }

/** Per direction; absent: passed on as it comes. */
export interface Faults {
  readonly toServer?: Fault
  readonly toClient?: Fault
}

interface Piece {
  /** `fin`, `rst`: the sender's end, in its place among the bytes. */
  readonly what: Buffer | 'fin' | 'rst'
  readonly dueAt: number
}

/** What one direction holds before it stops reading. */
const bufferBytes = 65_536
/** A bandwidth is handed out in pieces of so long. */
const sliceMs = 20

/** One direction of a proxied connection. */
export class Pipe {
  readonly #from: Socket
  readonly #to: Socket
  #queue: Piece[] = []
  #queuedBytes = 0
  #fault: Fault | null = null
  #passed = 0
  #lastDueAt = 0
  #paceUntil = 0
  #timer: NodeJS.Timeout | undefined
  /** `held` until the fault is lifted; `lost` and `over` for good: bytes are missing, or the receiver was told of the end. */
  #state: 'flowing' | 'held' | 'vanishing' | 'lost' | 'over' = 'flowing'

  constructor(from: Socket, to: Socket) {
    this.#from = from
    this.#to = to
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.on('end', () => this.#take('fin'))
    from.on('close', (hadError) => this.#take(hadError ? 'rst' : 'fin'))
    to.on('drain', () => this.#step())
    to.on('close', () => this.#finish())
  }

  /** Null: from here on bytes pass as they come. */
  set(fault: Fault | null): void {
    this.#fault = fault
    this.#passed = 0
    this.#paceUntil = 0
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#state === 'held' || this.#state === 'vanishing') this.#state = 'flowing'
    this.#strikeIfDue()
    this.#step()
  }

  get isLost(): boolean {
    return this.#state === 'lost'
  }

  /** Passes nothing on any more, no end either. */
  lose(): void {
    clearTimeout(this.#timer)
    this.#state = 'lost'
    this.#empty()
  }

  /** Takes no more; says so to the receiver unless its connection is gone. */
  end(): void {
    if (this.#state !== 'over') this.#to.end()
    this.#finish()
  }

  #finish(): void {
    clearTimeout(this.#timer)
    this.#state = 'over'
    this.#empty()
  }

  #take(what: Piece['what']): void {
    if (this.#state === 'over' || this.#state === 'lost') return
    if (this.#state === 'vanishing') {
      if (typeof what !== 'string') this.#state = 'lost'
      return
    }
    this.#queue.push({ what, dueAt: this.#dueAt() })
    if (typeof what !== 'string') this.#queuedBytes += what.length
    if (this.#queuedBytes > bufferBytes) this.#from.pause()
    if (this.#timer === undefined) this.#step()
  }

  #dueAt(): number {
    if (this.#fault?.kind !== 'latency') return 0
    const { ms, jitterMs = 0 } = this.#fault
    this.#lastDueAt = Math.max(this.#lastDueAt, performance.now() + ms + Math.random() * jitterMs)
    return this.#lastDueAt
  }

  #step(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    while (this.#state === 'flowing' && !this.#to.writableNeedDrain) {
      const [piece] = this.#queue
      if (piece === undefined) return
      const leftMs = Math.max(this.#fault?.kind === 'latency' ? piece.dueAt : 0, this.#paceUntil) - performance.now()
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.#step(), Math.ceil(leftMs))
        return
      }
      this.#pass(piece)
    }
  }

  #pass(piece: Piece): void {
    const { what } = piece
    if (this.#to.writableEnded) {
      this.#finish()
    } else if (what === 'fin') {
      this.end()
    } else if (what === 'rst') {
      this.#to.resetAndDestroy()
      this.#finish()
    } else {
      this.#passBytes(piece, what)
    }
  }

  #passBytes(piece: Piece, what: Buffer): void {
    const bytes = what.subarray(0, this.#allowance())
    const rest = what.subarray(bytes.length)
    if (rest.length > 0) this.#queue[0] = { ...piece, what: rest }
    else this.#queue.shift()
    this.#queuedBytes -= bytes.length
    if (this.#queuedBytes <= bufferBytes) this.#from.resume()
    this.#to.write(bytes)
    this.#passed += bytes.length
    this.#paceUntil = performance.now() + this.#paceMs(bytes.length)
    this.#strikeIfDue()
  }

  #allowance(): number {
    const fault = this.#fault
    if (fault === null || fault.kind === 'latency') return Number.POSITIVE_INFINITY
    if (fault.kind === 'drip') return fault.bytes
    if (fault.kind === 'bandwidth') return Math.max(1, Math.floor((fault.bytesPerSecond * sliceMs) / 1000))
    return fault.afterBytes - this.#passed
  }

  #paceMs(bytes: number): number {
    if (this.#fault?.kind === 'drip') return this.#fault.everyMs
    return this.#fault?.kind === 'bandwidth' ? (bytes / this.#fault.bytesPerSecond) * 1000 : 0
  }

  #strikeIfDue(): void {
    const fault = this.#fault
    if (this.#state !== 'flowing' || fault === null || !('afterBytes' in fault)) return
    if (this.#passed >= fault.afterBytes) this.#strike(fault.kind)
  }

  #strike(kind: Extract<Fault, { afterBytes: number }>['kind']): void {
    if (kind === 'hold') {
      this.#state = 'held'
    } else if (kind === 'vanish') {
      this.#state = this.#queuedBytes > 0 ? 'lost' : 'vanishing'
      this.#empty()
    } else if (kind === 'reset') {
      this.#finish()
      // What was passed on before is to arrive.
      this.#to.write('', () => {
        this.#to.resetAndDestroy()
        this.#from.resetAndDestroy()
      })
    } else {
      this.end()
      if (kind === 'truncate') this.#from.end()
    }
  }

  /** What comes from now on is read and thrown away. */
  #empty(): void {
    this.#queue = []
    this.#queuedBytes = 0
    this.#from.resume()
  }
}
