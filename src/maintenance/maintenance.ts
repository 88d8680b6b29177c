import { setTimeout as delay } from 'node:timers/promises'
import { newUuid } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { holdLease, releaseLease } from '../storage/leases.ts'

/** What one process does for all, now and then. Doing it twice at once must do no harm: a lease is no lock. */
export interface Job {
  readonly name: string
  readonly everyMs: number
  /** Goes on until it is done or `signal` says that another process is at it. */
  run(signal: AbortSignal): Promise<void>
}

export interface MaintenanceTimes {
  /** A process that died is replaced after so long. */
  readonly leaseMs: number
  readonly renewMs: number
  /** After a job failed. */
  readonly retryMs: number
}

const leaseName = 'maintenance'
/** How long an end waits for a step, ms. A statement that is cut then is rolled back, and tried again by the next process. */
const closeMs = 2000
const defaultTimes: MaintenanceTimes = { leaseMs: 15_000, renewMs: 5000, retryMs: 10_000 }

/** Runs jobs in the one process that holds the lease, each by its own clock: a slow one holds up no other. */
export class Maintenance {
  readonly #database: Database
  readonly #log: Log
  readonly #jobs: readonly Job[]
  readonly #times: MaintenanceTimes
  readonly #holder = newUuid()
  readonly #stopping = new AbortController()
  #running: Promise<void> | null = null
  #term: Term | null = null

  constructor(parts: { database: Database; log: Log; jobs: readonly Job[]; times?: Partial<MaintenanceTimes> }) {
    this.#database = parts.database
    this.#log = parts.log
    this.#jobs = parts.jobs
    this.#times = { ...defaultTimes, ...parts.times }
  }

  /** Stands for election from now on. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Lets running jobs end at their next step, but waits for a short time only, and the next process take over at once. Never throws. */
  async close(): Promise<void> {
    this.#stopping.abort()
    const waited = new AbortController()
    const patience = delay(closeMs, undefined, { signal: waited.signal }).catch(() => undefined)
    await Promise.race([this.#stop(), patience])
    waited.abort()
  }

  async #stop(): Promise<void> {
    await this.#running
    if (this.#term === null) return
    await this.#endTerm()
    const released = releaseLease(this.#database.work, leaseName, this.#holder)
    await released.catch((error: unknown) => this.#log.debug({ error }, 'the maintenance lease ends by itself'))
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await this.#elect()
      await delay(this.#times.renewMs, undefined, { signal }).catch(() => undefined)
    }
  }

  async #elect(): Promise<void> {
    // From before the question: the lease may have begun as soon as it was asked for.
    const askedAt = performance.now()
    const held = await this.#hold()
    // A database that does not answer takes the lease from nobody before its end.
    if (held === false || this.#term?.ending.signal.aborted) await this.#endTerm()
    if (!held || this.#stopping.signal.aborted) return
    const term = this.#term ?? this.#beginTerm()
    clearTimeout(term.timer)
    term.timer = setTimeout(() => term.ending.abort(), this.#times.leaseMs - (performance.now() - askedAt)).unref()
  }

  /** Null: the database does not say. */
  async #hold(): Promise<boolean | null> {
    try {
      return await holdLease(this.#database.work, leaseName, this.#holder, this.#times.leaseMs / 1000)
    } catch (error) {
      if (error instanceof StorageError && error.unavailable) this.#database.renew()
      this.#log.debug({ error }, 'the maintenance lease was not asked for')
      return null
    }
  }

  #beginTerm(): Term {
    this.#log.info('this process does the maintenance now')
    const ending = new AbortController()
    const jobs = this.#jobs.map((job) => this.#repeat(job, ending.signal))
    this.#term = { ending, done: Promise.all(jobs), timer: undefined }
    return this.#term
  }

  async #endTerm(): Promise<void> {
    const term = this.#term
    this.#term = null
    clearTimeout(term?.timer)
    term?.ending.abort()
    await term?.done
  }

  async #repeat(job: Job, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const succeeded = await this.#runOnce(job, signal)
      const pause = succeeded ? job.everyMs : Math.min(job.everyMs, this.#times.retryMs)
      await delay(pause, undefined, { signal }).catch(() => undefined)
    }
  }

  async #runOnce(job: Job, signal: AbortSignal): Promise<boolean> {
    try {
      await job.run(signal)
      return true
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ error, job: job.name }, 'maintenance failed and is tried again')
      return false
    }
  }
}

/** The time that this process has the lease. */
interface Term {
  readonly ending: AbortController
  readonly done: Promise<unknown>
  /** Ends it where the lease ends because it was not renewed. */
  timer: NodeJS.Timeout | undefined
}
