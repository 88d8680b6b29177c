import { completedEvent } from '../domain/events.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { Turns } from '../ops/turns.ts'
import { type Database, type SqlTransaction, StorageError, storing } from '../storage/database.ts'
import type { Account } from './directory.ts'
import { noticeEvent, writeFlowNotices } from './meta-flow-notices.ts'
import { writeMessages } from './meta-messages.ts'
import { inSlices } from './meta-slices.ts'
import { type AdmittedEntry, readTold } from './meta-told.ts'
import type { Teller } from './teller.ts'

export interface MetaEventsParts {
  readonly database: Database
  readonly teller: Teller
  readonly metrics: Pick<Metrics, 'metaEvents'>
  readonly log: Log
  /** Called when deliveries may have been committed. */
  readonly wake: () => void
  /** Called after a change of configuration was committed, before Meta is answered. */
  readonly configChanged: (workspaceId: WorkspaceId) => Promise<void>
}

/** For one slice, the wait for a connection included, ms. */
const sliceMs = 20_000

/**
 * What holds up one workspace alone, as a deletion of one of its clients does for a minute, ends before that, and is no reason to take the database for
 * away: to renew its connections would cut off what is waited for. Meta comes again.
 */
const bounds = "set local lock_timeout = '1s'; set local statement_timeout = '10s'"

/** Of all bodies together: half of the pool is left to deliveries and maintenance, which else find no connection and take the database for away. */
const slicesAtOnce = 2

/** Writes what Meta tells, each thing once. Repeatable: what was written before is known by its digest. */
export class MetaEvents {
  readonly #parts: MetaEventsParts
  readonly #turns = new Turns(slicesAtOnce)

  constructor(parts: MetaEventsParts) {
    this.#parts = parts
  }

  /** Resolves once everything is committed. Throws the first error; then all that others are told is committed, unless the database is away. */
  async apply(entries: readonly AdmittedEntry[]): Promise<void> {
    const { teller, wake } = this.#parts
    // Before a transaction holds a connection that this waits for.
    await storing('check queue', () => teller.ready())
    try {
      await this.#applyAll(entries)
    } finally {
      wake()
    }
  }

  async #applyAll(entries: readonly AdmittedEntry[]): Promise<void> {
    const errors: unknown[] = []
    for (const [workspaceId, own] of Map.groupBy(entries, ({ account }) => account.workspaceId)) {
      try {
        await this.#applyOwn(workspaceId, own)
      } catch (error) {
        if (error instanceof StorageError && error.unavailable) throw error
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  async #applyOwn(workspaceId: WorkspaceId, entries: readonly AdmittedEntry[]): Promise<void> {
    const { teller, configChanged } = this.#parts
    const { messages, notices, unknown } = readTold(entries)
    for (const { account, field } of unknown) this.#ignore(account, field)
    for (const slice of inSlices(messages, ({ message }) => (message.completion === null ? null : completedEvent))) {
      const write = (tx: SqlTransaction) => writeMessages(tx, workspaceId, slice, teller)
      const { applied, ignored } = await this.#write('write messages', workspaceId, write)
      this.#count('messages', slice.length, applied, ignored)
    }
    for (const slice of inSlices(notices, noticeEvent)) {
      const write = (tx: SqlTransaction) => writeFlowNotices(tx, workspaceId, slice, teller)
      const { applied, hasChangedFlows } = await this.#write('write flow notices', workspaceId, write)
      if (hasChangedFlows) await configChanged(workspaceId)
      this.#count('flows', slice.length, applied, 0)
    }
  }

  /** In one transaction, when the workspace's turn has come. */
  #write<Written>(
    operation: string,
    workspaceId: WorkspaceId,
    write: (tx: SqlTransaction) => Promise<Written>,
  ): Promise<Written> {
    const run = () =>
      this.#parts.database.work.begin(async (tx) => {
        // Sent before the others, and not waited for.
        const [, written] = await Promise.all([tx.unsafe(bounds).execute(), write(tx)])
        return written
      })
    return this.#turns.run(workspaceId, () => storing(operation, run as () => Promise<Written>, sliceMs))
  }

  #ignore({ workspaceId, wabaId }: Account, field: string): void {
    const { metrics, log } = this.#parts
    metrics.metaEvents(field === 'flows' ? 'flows' : 'other', 'ignored', 1)
    // Meta's own names look like this; anything else could be anything.
    const name = /^[a-z_]{1,60}$/.test(field) ? field : null
    log.debug({ workspaceId, wabaId, field: name }, 'a change that Meta tells of is not known here')
  }

  #count(field: 'messages' | 'flows', told: number, applied: number, ignored: number): void {
    const { metrics } = this.#parts
    metrics.metaEvents(field, 'applied', applied)
    metrics.metaEvents(field, 'ignored', ignored)
    metrics.metaEvents(field, 'duplicate', told - applied - ignored)
  }
}
