import { asynchronousDeadlineMs } from '../domain/delivery.ts'
import { YoungMap } from '../ops/young.ts'
import { leaseMs, type RungAlarm } from './queue.ts'

/** How long after its alarm was taken an attempt may begin, ms: it ends, and is written, before the alarm rings for another process. */
const beginWithinMs = leaseMs - asynchronousDeadlineMs - 5000

interface Taken {
  readonly alarm: RungAlarm
  readonly takenAt: number
  /** Since its attempt began. */
  readonly hasRungAgain: boolean
}

/**
 * Alarms that this process took: they wait for a place, are under way, or are not written yet. The queue keeps each from others for
 * {@link leaseMs}, however often it is told that the process lives; then it rings again, for whoever takes it.
 */
export class TakenAlarms {
  readonly #now: () => number
  readonly #taken = new YoungMap<string, Taken>()

  /** `now`: ms of a monotonic clock. */
  constructor(now: () => number) {
    this.#now = now
  }

  /** `takenAt`: when the queue was asked. False for one that was here already: it rang again, and is ours for as long again. */
  add(alarm: RungAlarm, takenAt: number = this.#now()): boolean {
    const hasRungAgain = this.#taken.has(alarm.deliveryId)
    this.#taken.set(alarm.deliveryId, { alarm, takenAt, hasRungAgain })
    return !hasRungAgain
  }

  /** False where an attempt that begins now could end when the alarm is ours no more: it is forgotten, and left to ring again. */
  begin({ deliveryId }: RungAlarm): boolean {
    const taken = this.#taken.get(deliveryId)
    const isInTime = taken !== undefined && this.#now() - taken.takenAt < beginWithinMs
    if (isInTime) this.#taken.set(deliveryId, { ...taken, hasRungAgain: false })
    else this.#taken.delete(deliveryId)
    return isInTime
  }

  /** Whether it rang again, and came here, since its attempt began. */
  hasRungAgain({ deliveryId }: RungAlarm): boolean {
    return this.#taken.get(deliveryId)?.hasRungAgain ?? false
  }

  delete(deliveryId: string): void {
    this.#taken.delete(deliveryId)
  }

  /** Without those that may be another's by now. */
  ours(): RungAlarm[] {
    const oldest = this.#now() - leaseMs
    return [...this.#taken.values()].flatMap(({ alarm, takenAt }) => (takenAt > oldest ? [alarm] : []))
  }
}
