import { hostname } from 'node:os'
import { createGatekeeper, type Gatekeeper } from '../delivery/gatekeeper.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { nameProcess } from '../ops/process-name.ts'
import type { Database } from '../storage/database.ts'
import { BreakerLog } from './breaker-log.ts'
import { BreakerStates } from './breaker-states.ts'

export interface BreakersParts {
  readonly database: Database
  readonly log: Log
  readonly metrics: Pick<Metrics, 'breakerMoved' | 'breakerProbed' | 'watchBreakers'>
}

export interface Breakers {
  readonly gatekeeper: Gatekeeper
  /** Says in the log what this process is called in the webhook's resource. */
  start(): void
  /** Once no call is made any more: this process has no breakers then. */
  close(): Promise<void>
}

/** The breakers of this process, told of in the log, the metrics and the database. */
export function createBreakers({ database, log, metrics }: BreakersParts): Breakers {
  const processName = nameProcess()
  const now = () => performance.now()
  const lines = new BreakerLog(log, processName, now)
  const gatekeeper: Gatekeeper = createGatekeeper({
    now,
    observer: {
      changed(webhook, change) {
        metrics.breakerMoved(change.to)
        lines.tell(webhook, change)
        states.changed()
      },
      probed: metrics.breakerProbed,
    },
  })
  const states = new BreakerStates({ database, gatekeeper, log, processName, now })
  metrics.watchBreakers(gatekeeper.count)
  return {
    gatekeeper,
    start: () =>
      log.info({ process: processName, host: hostname() }, 'this process tells of its breakers by this name'),
    close: () => states.close(),
  }
}
