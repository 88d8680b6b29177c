import { createGatekeeper, type Gatekeeper } from '../delivery/gatekeeper.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { nameProcess } from '../ops/process-name.ts'
import { BreakerLog } from './breaker-log.ts'

export interface BreakersParts {
  readonly log: Log
  readonly metrics: Pick<Metrics, 'breakerMoved' | 'breakerProbed' | 'watchBreakers'>
}

/** The breakers of this process, told of in the log and the metrics. */
export function createBreakers({ log, metrics }: BreakersParts): Gatekeeper {
  const now = () => performance.now()
  const lines = new BreakerLog(log, nameProcess(), now)
  const gatekeeper: Gatekeeper = createGatekeeper({
    now,
    observer: {
      changed(webhook, change) {
        metrics.breakerMoved(change.to)
        lines.tell(webhook, change)
      },
      probed: metrics.breakerProbed,
    },
  })
  metrics.watchBreakers(gatekeeper.count)
  return gatekeeper
}
