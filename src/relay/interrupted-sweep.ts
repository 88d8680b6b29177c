import type { Log } from '../ops/logger.ts'
import { storageOn } from '../storage/backends.ts'
import type { Database } from '../storage/database.ts'
import type { Recorder } from './recorder.ts'

const everyMs = 15_000
/** The longest deadline and drain fit in many times over. */
export const openForMs = 60_000

/** Takes care of what dead processes left: their spools on this machine, and rows that they opened and did not close. */
export class InterruptedSweep {
  readonly #database: Database
  readonly #recorder: Recorder
  readonly #log: Log
  #timer: NodeJS.Timeout | null = null
  #sweeping: Promise<void> | null = null

  constructor(database: Database, recorder: Recorder, log: Log) {
    this.#database = database
    this.#recorder = recorder
    this.#log = log
  }

  /** Sweeps once and from then on every 15 s. Resolves once the spools are taken over. */
  async start(): Promise<void> {
    await this.#recorder.adopt()
    this.#timer = setInterval(() => this.#sweep(), everyMs)
    this.#timer.unref()
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#sweeping
  }

  #sweep(): void {
    this.#sweeping ??= this.#sweepOnce().finally(() => {
      this.#sweeping = null
    })
  }

  async #sweepOnce(): Promise<void> {
    await this.#recorder.adopt()
    try {
      const { sql, backend } = this.#database
      const closed = await storageOn(backend).closeInterrupted(sql, new Date(Date.now() - openForMs))
      if (closed > 0) this.#log.warn({ rows: closed }, 'exchanges of a process that died were closed as interrupted')
    } catch (error) {
      this.#log.debug({ error }, 'interrupted exchanges not looked for')
    }
  }
}
