import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { Answered } from './overload-rig.ts'

/** What came of calls. */
export interface Tally {
  readonly offered: number
  readonly replied: number
  readonly shed: number
  /** The fallback after the deadline. */
  readonly timedOut: number
  readonly refused: number
  readonly lost: number
  /** Answered, and not with an encrypted 200: by what. */
  readonly wrong: ReadonlyMap<string, number>
  /** Of answers, ms from the call's time in the plan. */
  readonly latencies: readonly number[]
  readonly seconds: number
  /** How far the generator fell behind its plan at worst, ms. */
  readonly lagMs: number
  /** performance.now() of the last call that was planned and got no reply; null: all got theirs. */
  readonly lastWithoutReply: number | null
}

type Mutable = { -readonly [K in keyof Tally]: Tally[K] } & { wrong: Map<string, number>; latencies: number[] }

/** `concurrency` callers, each calling again once it was answered: what the relay can do. */
export async function closedLoad(call: () => Promise<Answered>, concurrency: number, seconds: number): Promise<Tally> {
  const tally = emptyTally()
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1000
  const caller = async () => {
    while (performance.now() < endsAt) await count(tally, call, performance.now())
  }
  await Promise.all(Array.from({ length: concurrency }, caller))
  tally.seconds = (performance.now() - startedAt) / 1000
  return tally
}

/** Calls when the plan says so, whatever came of those before. */
export async function openLoad(call: () => Promise<Answered>, rate: number, seconds: number): Promise<Tally> {
  const tally = emptyTally()
  const startedAt = performance.now()
  const under = new Set<Promise<void>>()
  for (let index = 0; index < rate * seconds; index++) {
    const plannedAt = startedAt + (index * 1000) / rate
    const early = plannedAt - performance.now()
    if (early > 0) await sleep(Math.ceil(early))
    else if (index % 16 === 0) await setImmediate()
    tally.lagMs = Math.max(tally.lagMs, performance.now() - plannedAt)
    const one = count(tally, call, performance.now()).finally(() => under.delete(one))
    under.add(one)
  }
  tally.seconds = (performance.now() - startedAt) / 1000
  await Promise.all(under)
  return tally
}

async function count(tally: Mutable, call: () => Promise<Answered>, at: number): Promise<void> {
  tally.offered++
  const answered = await call()
  if (answered !== 'refused' && answered !== 'lost') tally.latencies.push(performance.now() - at)
  if (answered !== 'replied' && answered !== 'timedOut')
    tally.lastWithoutReply = Math.max(tally.lastWithoutReply ?? 0, at)
  if (typeof answered === 'string') tally[answered]++
  else tally.wrong.set(answered.problem, (tally.wrong.get(answered.problem) ?? 0) + 1)
}

function emptyTally(): Mutable {
  const counts = { offered: 0, replied: 0, shed: 0, timedOut: 0, refused: 0, lost: 0 }
  return { ...counts, wrong: new Map(), latencies: [], seconds: 0, lagMs: 0, lastWithoutReply: null }
}
