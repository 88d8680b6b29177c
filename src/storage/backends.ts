import * as citusDeliveries from './citus/deliveries.ts'
import * as citus from './citus/exchanges.ts'
import type { DatabaseBackend } from './database.ts'
import { countWaiting, insertDeliveries } from './deliveries.ts'
import { closeInterrupted, replayExchanges, writeExchanges } from './exchanges.ts'

/** What differs between the two: PostgreSQL takes a group of rows in one statement, Citus routes row by row. */
interface Writing {
  readonly writeExchanges: typeof writeExchanges
  readonly replayExchanges: typeof replayExchanges
  readonly closeInterrupted: typeof closeInterrupted
  readonly insertDeliveries: typeof insertDeliveries
  readonly countWaiting: typeof countWaiting
}

const backends: Readonly<Record<DatabaseBackend, Writing>> = {
  postgres: { writeExchanges, replayExchanges, closeInterrupted, insertDeliveries, countWaiting },
  citus: {
    writeExchanges: citus.writeExchanges,
    replayExchanges: citus.replayExchanges,
    closeInterrupted: citus.closeInterrupted,
    insertDeliveries: citusDeliveries.insertDeliveries,
    countWaiting: citusDeliveries.countWaiting,
  },
}

export const writingOn = (backend: DatabaseBackend): Writing => backends[backend]
