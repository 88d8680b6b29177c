import { setTimeout as delay } from 'node:timers/promises'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import {
  type Listening,
  listenForConfig,
  loadConfigs,
  loadConfigVersions,
  type WorkspaceConfig,
} from '../storage/account-config.ts'
import { type Database, StorageError } from '../storage/database.ts'
import { serverStart } from '../storage/server-facts.ts'
import type { Directory } from './directory.ts'

export interface SyncTimes {
  /** How often versions are compared, ms. Notifications are only a hint; contract.md §8 promises 10 s without them. */
  readonly pollMs: number
  /** How long one connection is listened on, ms: one whose other end is gone without a word hears nothing, and does not end either. */
  readonly listenMs: number
}
const defaultTimes: SyncTimes = { pollMs: 4000, listenMs: 60_000 }
/** Between attempts of the first load, ms. */
const firstLoadRetryMs = 500
/** More changed workspaces than this are loaded all at once. */
const reloadAllFrom = 100

/** What must hold before the first load is served from. What these throw, other than StorageErrors, ends the start. */
export interface StartChecks {
  beforeFirstLoad(): Promise<void>
  firstLoad(configs: readonly WorkspaceConfig[]): void
  /** Called with what a check threw when the database came up only after the start. */
  refused(error: unknown): void
}

/** Keeps a {@link Directory} like the database: loads, listens, compares versions by timer. */
export class DirectorySync {
  readonly #database: Database
  readonly #directory: Directory
  readonly #log: Log
  readonly #stopping = new AbortController()
  readonly #hinted = new Set<WorkspaceId>()
  #listening: Listening | null = null
  #listenedAt = 0
  /** The pool of the time: another one means that the database was seen away, and may be another server now. */
  #listenedBeside: Database['sql'] | null = null
  #listeningAnew: Promise<void> | null = null
  #isDeaf = false
  /** The {@link serverStart} of the one that all was last loaded from. */
  #server: string | null = null
  #running: Promise<void> | null = null

  readonly #checks: StartChecks
  readonly #times: SyncTimes

  constructor(database: Database, directory: Directory, log: Log, checks: StartChecks, times = defaultTimes) {
    this.#database = database
    this.#directory = directory
    this.#log = log
    this.#checks = checks
    this.#times = times
  }

  /**
   * Tries the first load once, then goes on in the background whether the database answered or not. Rejects with what the
   * checks throw.
   */
  async start(): Promise<void> {
    await this.#loadAll()
    this.#running = this.#run().catch((error: unknown) => this.#checks.refused(error))
  }

  /** Loads these workspaces now. Throws StorageError. Of two loads under way the newer wins: each tells its version. */
  async refresh(...workspaceIds: WorkspaceId[]): Promise<void> {
    const load = () => loadConfigs(this.#database.sql, workspaceIds)
    this.#tellLost(await this.#directory.replace(workspaceIds, load))
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#listeningAnew
    await this.#listening?.close().catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const pause = this.#directory.loaded ? this.#times.pollMs : firstLoadRetryMs
      await delay(pause, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      if (!this.#directory.loaded) await this.#loadAll()
      else await this.#compare()
    }
  }

  async #loadAll(): Promise<void> {
    try {
      if (!this.#directory.loaded) await this.#checks.beforeFirstLoad()
      // Listen first: a change between the two is then heard rather than missed.
      await this.#listen()
      await this.#reloadAll(await serverStart(this.#database.sql))
    } catch (error) {
      await this.#unavailable(error)
    }
  }

  async #reloadAll(server: string): Promise<void> {
    const lost = await this.#directory.replaceAll(async () => {
      const configs = await loadConfigs(this.#database.sql, null)
      if (!this.#directory.loaded) this.#checks.firstLoad(configs)
      return configs
    })
    this.#server = server
    this.#tellLost(lost)
  }

  async #compare(): Promise<void> {
    try {
      // Not awaited: where nobody answers there, this comparison is all there is.
      if (this.#listensInVain()) {
        this.#listeningAnew ??= this.#listen().finally(() => {
          this.#listeningAnew = null
        })
      }
      const { sql } = this.#database
      const [server, stored] = await Promise.all([serverStart(sql), loadConfigVersions(sql)])
      const outdated = this.#directory.outdated(stored)
      // One that was switched over to may lack the last changes, and have others under the same versions.
      if (server !== this.#server || outdated.length >= reloadAllFrom) await this.#reloadAll(server)
      else if (outdated.length > 0) await this.refresh(...outdated)
    } catch (error) {
      await this.#unavailable(error)
    }
  }

  /** A primary that was switched over from keeps its connections, and notifies of nothing. */
  #listensInVain(): boolean {
    return (
      this.#listening?.ended !== false ||
      this.#listenedBeside !== this.#database.sql ||
      performance.now() - this.#listenedAt > this.#times.listenMs
    )
  }

  /** Never throws: without notifications changes come by the timer. */
  async #listen(): Promise<void> {
    const before = this.#listening
    this.#listenedBeside = this.#database.sql
    try {
      this.#listening = await listenForConfig(this.#database.directUrl, (workspaceId) => {
        // Hints of one transaction come together and are followed together: a WABA that moves has two.
        if (this.#hinted.size === 0) setImmediate(() => this.#follow())
        this.#hinted.add(workspaceId)
      })
      this.#isDeaf = false
    } catch (error) {
      this.#listening = null
      if (!this.#isDeaf) this.#log.warn({ error }, 'no notifications are heard: changes are found by comparing')
      this.#isDeaf = true
    }
    this.#listenedAt = performance.now()
    await before?.close().catch(() => undefined)
  }

  #follow(): void {
    const workspaceIds = [...this.#hinted]
    this.#hinted.clear()
    // A hint that cannot be followed is caught up with by the timer.
    this.refresh(...workspaceIds).catch((error: unknown) => this.#log.warn({ error }, 'configuration not reloaded'))
  }

  #tellLost(workspaceIds: readonly WorkspaceId[]): void {
    if (workspaceIds.length === 0) return
    const [workspaceId] = workspaceIds
    this.#log.warn(
      { workspaces: workspaceIds.length, workspaceId },
      'the database has an older configuration than was in force: it lost changes, and they are no longer',
    )
  }

  async #unavailable(error: unknown): Promise<void> {
    if (!(error instanceof StorageError)) throw error
    if (error.unavailable) this.#database.renew()
    if (this.#stopping.signal.aborted) return
    const why = error.unanswered ? 'does not answer' : 'refuses us'
    this.#log.warn({ error, loaded: this.#directory.loaded }, `configuration not loaded: the database ${why}`)
    await this.#listening?.close().catch(() => undefined)
    this.#listening = null
  }
}
