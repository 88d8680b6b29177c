import { setTimeout as delay } from 'node:timers/promises'
import { opensFlowKeys } from '../relay/directory.ts'
import type { StartChecks } from '../relay/directory-sync.ts'
import { loadConfigs } from '../storage/account-config.ts'
import { StorageError } from '../storage/database.ts'
import { lacksOf } from '../storage/migrate.ts'
import type { Core } from './core.ts'
import { StartRefused } from './start-refused.ts'

/** What must hold of the database before any role serves from it. `refused` is called when one that came up later does not fit. */
export function startChecks(
  { database, queue, masterKeys }: Core,
  refused: (reason: StartRefused) => void = () => undefined,
): StartChecks {
  return {
    async beforeFirstLoad() {
      const lacks = await lacksOf(database)
      if (lacks !== null) throw new StartRefused(lacks)
      if (!(await queue.isCurrent())) throw new StartRefused('the queue lacks migrations: run npm run migrate')
    },
    firstLoad(configs) {
      if (!opensFlowKeys(configs, masterKeys)) throw new StartRefused('MASTER_KEY does not open the stored flow keys')
    },
    refused: (error) => refused(error instanceof StartRefused ? error : new StartRefused('start failed')),
  }
}

/** Between two attempts, ms. */
const retryMs = 500

/** For roles that keep no configuration in memory: asks the database until it fits. */
export class StartGate {
  readonly #core: Core
  readonly #checks: StartChecks
  readonly #stopping = new AbortController()
  #isOpen = false
  #asking: Promise<void> | null = null

  constructor(core: Core, checks: StartChecks) {
    this.#core = core
    this.#checks = checks
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Asks once, and goes on in the background where the database does not answer. Rejects with what the checks throw. */
  async start(): Promise<void> {
    await this.#ask()
    this.#asking = this.#askOn().catch((error: unknown) => this.#checks.refused(error))
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await this.#asking
  }

  async #askOn(): Promise<void> {
    const { signal } = this.#stopping
    while (!this.#isOpen && !signal.aborted) {
      await delay(retryMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#ask()
    }
  }

  async #ask(): Promise<void> {
    const { database, log } = this.#core
    try {
      await this.#checks.beforeFirstLoad()
      this.#checks.firstLoad(await loadConfigs(database.sql, null))
      this.#isOpen = true
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.unavailable) database.renew()
      const why = error.unanswered ? 'does not answer' : 'refuses us'
      if (!this.#stopping.signal.aborted) log.warn({ error }, `not ready: the database ${why}`)
    }
  }
}
