import * as citusDeliveries from './citus/deliveries.ts'
import * as citus from './citus/exchanges.ts'
import * as citusSessions from './citus/sessions.ts'
import type { DatabaseBackend } from './database.ts'
import { countWaiting, insertDeliveries } from './deliveries.ts'
import { closeInterrupted, replayExchanges, writeExchanges } from './exchanges.ts'
import { loadSessions } from './sessions.ts'

/** What differs between the two: PostgreSQL takes a group of rows in one statement, Citus routes by workspace and row by row. */
interface BackendStorage {
  readonly writeExchanges: typeof writeExchanges
  readonly replayExchanges: typeof replayExchanges
  readonly closeInterrupted: typeof closeInterrupted
  readonly insertDeliveries: typeof insertDeliveries
  readonly countWaiting: typeof countWaiting
  readonly loadSessions: typeof loadSessions
}

const backends: Readonly<Record<DatabaseBackend, BackendStorage>> = {
  postgres: { writeExchanges, replayExchanges, closeInterrupted, insertDeliveries, countWaiting, loadSessions },
  citus: {
    writeExchanges: citus.writeExchanges,
    replayExchanges: citus.replayExchanges,
    closeInterrupted: citus.closeInterrupted,
    insertDeliveries: citusDeliveries.insertDeliveries,
    countWaiting: citusDeliveries.countWaiting,
    loadSessions: citusSessions.loadSessions,
  },
}

export const storageOn = (backend: DatabaseBackend): BackendStorage => backends[backend]
