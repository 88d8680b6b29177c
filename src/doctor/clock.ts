import { type Finding, findingsOf } from './finding.ts'

const clock = findingsOf('clock')

/** `Date` headers have whole seconds. */
const warnSeconds = 5
/** Webhooks that check our `webhook-timestamp` allow five minutes. */
const failSeconds = 120

/** Clocks that this machine's is compared with, unix ms as seen at local unix ms. */
export interface SeenClock {
  readonly of: string
  readonly theirs: number
  readonly ours: number
}

/** The largest difference counts. */
export function checkClock(seen: readonly SeenClock[]): Finding {
  const [worst] = seen
    .map(({ of, theirs, ours }) => ({ of, seconds: (theirs - ours) / 1000 }))
    .toSorted((a, b) => Math.abs(b.seconds) - Math.abs(a.seconds))
  if (worst === undefined) return clock.warn('not checked', 'neither the relay nor the database told its time')
  const by = Math.abs(worst.seconds)
  const message = `${worst.of} is ${by.toFixed(1)} s ${worst.seconds < 0 ? 'behind' : 'ahead of'} this machine`
  const advice = 'keep all machines on NTP: signatures of webhooks hold the time'
  if (by > failSeconds) return clock.fail(message, advice)
  return by > warnSeconds ? clock.warn(message, advice) : clock.ok(`all clocks agree within ${Math.ceil(by)} s`)
}
