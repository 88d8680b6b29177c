import { YoungMap } from '../ops/young.ts'
import type { RungAlarm } from './queue.ts'

/** Attempts under way at once: in this process, and of them to one webhook that answers well, and to any other. */
export const bounds = { all: 512, proven: 8, unproven: 2 }
/** Alarms taken of one webhook, in all processes: those that wait for a place here too. */
export const takenPerWebhook = 64
/** Alarms taken and not yet under way: what 256 webhooks that hang can take, whose places are all there are. */
const mostHeld = 16_384
/** Webhooks that are known to answer. One that is forgotten begins with two places again. */
const mostRemembered = 10_000

interface Lane {
  /** Rung, and waiting for a place. */
  readonly held: RungAlarm[]
  underWay: number
  /** Whether its last attempt was a success. */
  isProven: boolean
  /** Whether some stand in the queue for want of a place: new ones come after them. */
  isBehind: boolean
}

/**
 * Who may be attempted now. Each webhook has a lane: one that hangs or fails has 2 places, until an attempt succeeds, so that it takes hundreds
 * of dead webhooks to take the places of those that live.
 */
export class Lanes {
  readonly #lanes = new YoungMap<string, Lane>()
  #held = 0
  #underWay = 0

  get underWay(): number {
    return this.#underWay
  }

  /** How many more alarms may be taken. */
  get room(): number {
    return Math.max(0, mostHeld - this.#held)
  }

  /** Webhooks that have enough for now. */
  full(): string[] {
    return [...this.#lanes].flatMap(([webhookId, lane]) =>
      lane.underWay + lane.held.length >= limitOf(lane) ? [webhookId] : [],
    )
  }

  /** Takes a place for a delivery that is in no queue, until {@link release}. False: there is none, or others of its webhook wait for one. */
  hold(webhookId: string): boolean {
    const lane = this.#laneOf(webhookId)
    const isFree = lane.underWay + lane.held.length < limitOf(lane) && this.#underWay < bounds.all
    lane.isBehind ||= !isFree
    if (lane.isBehind) return false
    lane.underWay++
    this.#underWay++
    return true
  }

  /** The queue was looked through, and what it had of all webhooks but these was taken. */
  caughtUp(except: ReadonlySet<string>): void {
    for (const [webhookId, lane] of [...this.#lanes]) {
      if (!lane.isBehind || except.has(webhookId)) continue
      lane.isBehind = false
      this.#forgetIdle(webhookId, lane)
    }
  }

  add(alarm: RungAlarm): void {
    this.#laneOf(alarm.webhookId).held.push(alarm)
    this.#held++
  }

  /** The next alarms that have a place, which they hold until {@link release}. */
  start(): RungAlarm[] {
    const started: RungAlarm[] = []
    for (const [webhookId, lane] of [...this.#lanes]) {
      if (this.#underWay >= bounds.all) break
      const places = Math.min(limitOf(lane) - lane.underWay, bounds.all - this.#underWay)
      const alarms = places > 0 ? lane.held.splice(0, places) : []
      if (alarms.length === 0) continue
      this.#held -= alarms.length
      lane.underWay += alarms.length
      this.#underWay += alarms.length
      started.push(...alarms)
      // Whoever was served comes last the next time.
      this.#lanes.delete(webhookId)
      this.#lanes.set(webhookId, lane)
    }
    return started
  }

  /** `isProven` null: nothing was learned of the webhook. */
  release(webhookId: string, isProven: boolean | null): void {
    const lane = this.#laneOf(webhookId)
    this.#underWay--
    lane.underWay--
    if (isProven !== null) lane.isProven = isProven
    this.#forgetIdle(webhookId, lane)
  }

  /** Gives up what waits for a place. */
  drain(): RungAlarm[] {
    const drained = [...this.#lanes.values()].flatMap((lane) => lane.held.splice(0))
    this.#held = 0
    return drained
  }

  #forgetIdle(webhookId: string, { underWay, held, isProven, isBehind }: Lane): void {
    const isIdle = underWay === 0 && held.length === 0 && !isBehind
    // Who has proven itself keeps its places: with two, a webhook that is told ten times a second has no time to lose.
    if (isIdle && (!isProven || this.#lanes.size > mostRemembered)) this.#lanes.delete(webhookId)
  }

  #laneOf(webhookId: string): Lane {
    const lane = this.#lanes.get(webhookId) ?? { held: [], underWay: 0, isProven: false, isBehind: false }
    this.#lanes.set(webhookId, lane)
    return lane
  }
}

function limitOf({ isProven }: Lane): number {
  return isProven ? bounds.proven : bounds.unproven
}

/** Webhooks of which so many were taken that there may be more. */
export function crowdedIn(alarms: readonly RungAlarm[]): string[] {
  const byWebhook = Map.groupBy(alarms, ({ webhookId }) => webhookId)
  return [...byWebhook].flatMap(([webhookId, own]) => (own.length > takenPerWebhook / 2 ? [webhookId] : []))
}
