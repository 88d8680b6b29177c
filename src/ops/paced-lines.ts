/** Lines in `spanMs`. */
const mostLines = 20
const spanMs = 10_000

/** Room for 20 log lines in 10 s, so that what somebody else can bring about does not fill the log. What had none is counted, and the next line says how many. */
export class PacedLines {
  readonly #now: () => number
  #beganAt = Number.NEGATIVE_INFINITY
  #lines = 0
  #untold = 0

  /** `now`: monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** What the line is to say besides; null: there is no room, and it is counted. */
  take(): { readonly untold?: number } | null {
    const now = this.#now()
    if (now - this.#beganAt >= spanMs) {
      this.#beganAt = now
      this.#lines = 0
    }
    if (this.#lines >= mostLines) {
      this.#untold++
      return null
    }
    this.#lines++
    const untold = this.#untold
    this.#untold = 0
    return untold === 0 ? {} : { untold }
  }
}
