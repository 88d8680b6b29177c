import type { Log } from '../ops/logger.ts'
import type { Database } from '../storage/database.ts'
import { rollUp } from '../storage/stats-roll-up.ts'

const everyMs = 30_000

/** Keeps the statistics rolled up. One process is enough; more of them do no harm. */
export class StatsTimer {
  readonly #database: Database
  readonly #log: Log
  #timer: NodeJS.Timeout | null = null
  #running: Promise<void> | null = null
  #isStopped = false

  constructor(database: Database, log: Log) {
    this.#database = database
    this.#log = log
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), everyMs)
    this.#timer.unref()
    this.#tick()
  }

  /** A pass under way is not waited for: it ends with its connection, and leaves nothing half done. */
  stop(): void {
    this.#isStopped = true
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  #tick(): void {
    this.#running ??= this.run().finally(() => {
      this.#running = null
    })
  }

  /** Passes until there is nothing left to do. Never throws. */
  async run(): Promise<void> {
    try {
      let isBehind = true
      while (isBehind && !this.#isStopped) ({ isBehind } = await rollUp(this.#database.work, new Date()))
    } catch (error) {
      if (!this.#isStopped) this.#log.warn({ error }, 'statistics were not rolled up')
    }
  }
}
