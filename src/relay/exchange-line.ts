import { YoungMap } from '../ops/young.ts'

/** Why an exchange is not put to its webhook: it waited too long for its turn, or too many are under way. */
export type ShedReason = 'waited' | 'in_flight'

export interface LineEvents {
  /** Whether new connections are to be refused from now on. */
  readonly refusing: (isRefusing: boolean) => void
}

/** How much of one turn of the event loop goes to exchanges that begin, ms. What timers and answers wait for is at most this and what it brings. */
const sliceMs = 4
/** Turns in a row in which no exchange begins because connections keep coming: libuv accepts one in a turn, so turns must be short or they wait in the kernel. */
const acceptTurns = 32
/** Of the time in which exchanges begin, what goes to fallbacks; more once one waits too long for it. The rest goes to replies, and where all are late to the latest of them. */
const shedShare = { usual: 1 / 8, urgent: 1 / 3 }
/** Somebody waits without a break for so long, and others still come, the last of them so long ago at most: this is no burst. */
const sustainedAfterMs = 1000
const stillComingMs = 250
/** How long an exchange waits for its turn before it gets the fallback, ms. A burst is better served late than not at all. */
const patienceMs = { burst: 1000, sustained: 150 }
/** Who was let in is answered: past it fallbacks have the greater share. */
const urgentMs = 600
/** New connections are refused where who came last would wait longer than this, ms. */
const refuseAtMs = { burst: 700, sustained: 200 }
/** A line that is no longer is served whole, and one that is no longer refuses nobody: where others take the processor, time alone does not tell that there is too much to do. */
const shortLine = { burst: { served: 64, admitted: 160 }, sustained: { served: 24, admitted: 32 } }
/** Over what time the line's speed is averaged, and how long it must have been seen to count, ms of waiting. */
const speedOverMs = 500
const speedSeenMs = 100
/** Under way at once in this process: as many workspaces as there are bounds of contract.md §3 in it can be slow. */
const mostUnderWay = { count: 8192, bytes: 256 * 1024 * 1024 }
/** What those that wait may hold. Who comes beyond is shed at once: an answer is the only way to be rid of a body that came whole. */
export const mostWaitingBytes = 64 * 1024 * 1024
/** What a call takes besides its body, about: without it empty ones would have no bound, and 262,144 can come on the connections that may be open. */
const callBytes = 8 * 1024
/** While exchanges wait, so many deliveries may be taken, so often. */
const courtesy = { deliveries: 4, everyMs: 500 }

interface Entry {
  readonly workspaceId: string
  readonly bytes: number
  readonly at: number
  /** Runs the part of the work that needs the processor now; resolves when all of it is done. */
  readonly begin: (shed: ShedReason | null) => Promise<unknown>
}

export interface LineOptions {
  /** Monotonic ms. */
  readonly now: () => number
  /** Runs a function once in the next turn of the event loop, after what was read in it: setImmediate. */
  readonly nextTurn: (run: () => void) => void
}

/**
 * Where exchanges wait for the processor. What began goes on whenever it can; what is to begin gets a slice of each turn, so a turn is short
 * and timers are in time whatever is offered. Who waits too long is shed: the fallback, which costs a fraction. Sheds get a fixed
 * share, so that replies go on; and where that is not enough, new connections are refused. Nothing here knows what an exchange costs
 * or a machine can do: docs/adr/0006-overload.md.
 */
export class ExchangeLine {
  readonly #now: () => number
  readonly #nextTurn: (run: () => void) => void
  /** By workspace, served in turn: a busy one waits behind itself. A Map keeps the order of insertion. */
  readonly #lanes = new YoungMap<string, Entry[]>()
  readonly #late: Entry[] = []
  #waiting = 0
  #waitingBytes = 0
  #underWay = 0
  #underWayBytes = 0
  /** Above zero, fallbacks had more than their share. */
  #shedBalanceMs = 0
  /** Since when somebody waits, without a break. */
  #waitingSince: number | null = null
  #turnEndedAt = 0
  #lastCameAt = Number.NEGATIVE_INFINITY
  #isSustained = false
  #hasConnection = false
  #acceptedTurns = 0
  /** How many left the line in how long, fading; only of times when somebody waited. */
  #left = 0
  #leftInMs = 0
  #isRefusing = false
  #courtesyAt = Number.NEGATIVE_INFINITY
  #events: LineEvents = { refusing: () => undefined }

  constructor(options: Partial<LineOptions> = {}) {
    this.#now = options.now ?? (() => performance.now())
    this.#nextTurn = options.nextTurn ?? setImmediate
  }

  tell(events: LineEvents): void {
    this.#events = events
  }

  get waiting(): number {
    return this.#waiting
  }

  get underWay(): number {
    return this.#underWay
  }

  get isRefusing(): boolean {
    return this.#isRefusing
  }

  /** Has `begin` called when it is this exchange's turn, with why it is to be shed or null. `at`: when it came; `bytes`: of its body. */
  enter<T>(
    call: { readonly workspaceId: string; readonly bytes: number; readonly at: number },
    begin: (shed: ShedReason | null) => Promise<T>,
  ): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>()
    const run = (shed: ShedReason | null) => {
      const work = begin(shed)
      resolve(work)
      return work
    }
    const { workspaceId } = call
    const entry = { ...call, bytes: call.bytes + callBytes, begin: run }
    this.#waiting++
    this.#waitingBytes += entry.bytes
    if (this.#waitingBytes > mostWaitingBytes) {
      this.#begin(entry, 'in_flight')
      return promise
    }
    const lane = this.#lanes.get(workspaceId)
    if (lane === undefined) this.#lanes.set(workspaceId, [entry])
    else lane.push(entry)
    this.#lastCameAt = this.#now()
    if (this.#waitingSince === null) {
      this.#waitingSince = this.#lastCameAt
      this.#turnEndedAt = this.#lastCameAt
      this.#nextTurn(this.#turn)
    }
    return promise
  }

  /** How many deliveries may be taken now: exchanges come first. */
  roomForDeliveries(): number {
    const now = this.#now()
    if (this.#waitingSince === null || now - this.#waitingSince < patienceMs.sustained) return Number.POSITIVE_INFINITY
    if (now - this.#courtesyAt < courtesy.everyMs) return 0
    this.#courtesyAt = now
    return courtesy.deliveries
  }

  /** To be called at each new connection. */
  connectionCame(): void {
    this.#hasConnection = true
  }

  readonly #turn = (): void => {
    if (this.#isAccepting()) this.#nextTurn(this.#turn)
    else this.#slice()
  }

  /** More may wait behind a connection that came in this turn. */
  #isAccepting(): boolean {
    const hadConnection = this.#hasConnection
    this.#hasConnection = false
    this.#acceptedTurns = hadConnection ? (this.#acceptedTurns + 1) % acceptTurns : 0
    return this.#acceptedTurns > 0
  }

  #slice(): void {
    const startedAt = this.#now()
    const before = this.#waiting
    const load = this.#load(startedAt)
    this.#sortOutLate(startedAt, patienceMs[load])
    for (let now = startedAt; this.#waiting > 0 && now - startedAt < sliceMs; ) {
      const share = this.#shedShare(now)
      const isShed = this.#late.length > 0 && this.#waiting > shortLine[load].served && this.#shedBalanceMs <= 0
      if (isShed) this.#shedNext()
      else this.#serveNext()
      const ms = this.#now() - now
      now += ms
      const balance = this.#shedBalanceMs + (isShed ? ms * (1 - share) : -ms * share)
      this.#shedBalanceMs = Math.min(sliceMs, Math.max(-sliceMs, balance))
    }
    this.#count(before - this.#waiting)
    this.#decideOnConnections()
    if (this.#waiting > 0) this.#nextTurn(this.#turn)
    else {
      this.#waitingSince = null
      this.#isSustained = false
    }
  }

  #shedShare(now: number): number {
    const [oldest] = this.#late
    return oldest !== undefined && now - oldest.at > urgentMs ? shedShare.urgent : shedShare.usual
  }

  #load(now: number): 'burst' | 'sustained' {
    const isLong = this.#waitingSince !== null && now - this.#waitingSince > sustainedAfterMs
    // Until nobody waits: while connections are refused nobody comes.
    this.#isSustained ||= isLong && now - this.#lastCameAt <= stillComingMs
    return this.#isSustained ? 'sustained' : 'burst'
  }

  #sortOutLate(now: number, patience: number): void {
    for (const [workspaceId, lane] of this.#lanes) {
      const inTime = lane.findIndex(({ at }) => now - at <= patience)
      if (inTime === 0) continue
      this.#late.push(...(inTime < 0 ? lane : lane.splice(0, inTime)))
      if (inTime < 0) this.#lanes.delete(workspaceId)
    }
  }

  #shedNext(): void {
    const entry = this.#late.shift()
    if (entry !== undefined) this.#begin(entry, 'waited')
  }

  #serveNext(): void {
    const entry = this.#takeFromLane() ?? this.#late.pop()
    const isFull = this.#underWay >= mostUnderWay.count || this.#underWayBytes >= mostUnderWay.bytes
    if (entry !== undefined) this.#begin(entry, isFull ? 'in_flight' : null)
  }

  #takeFromLane(): Entry | undefined {
    const [first] = this.#lanes
    if (first === undefined) return undefined
    const [workspaceId, lane] = first
    const entry = lane.shift()
    this.#lanes.delete(workspaceId)
    if (lane.length > 0) this.#lanes.set(workspaceId, lane)
    return entry
  }

  #begin(entry: Entry, shed: ShedReason | null): void {
    this.#waiting--
    this.#waitingBytes -= entry.bytes
    this.#underWay++
    this.#underWayBytes += entry.bytes
    const end = () => {
      this.#underWay--
      this.#underWayBytes -= entry.bytes
    }
    entry.begin(shed).then(end, end)
  }

  /** The line's speed counts only while somebody waits: else it would be that of the arrivals. */
  #count(left: number): void {
    const now = this.#now()
    const ms = now - this.#turnEndedAt
    this.#turnEndedAt = now
    const fade = Math.exp(-ms / speedOverMs)
    this.#left = this.#left * fade + left
    this.#leftInMs = this.#leftInMs * fade + ms
  }

  #decideOnConnections(): void {
    const load = this.#load(this.#turnEndedAt)
    const expectedMs = this.#leftInMs < speedSeenMs ? 0 : (this.#waiting * this.#leftInMs) / Math.max(this.#left, 1)
    const isRefusing = this.#waiting > shortLine[load].admitted && expectedMs > refuseAtMs[load]
    if (isRefusing === this.#isRefusing) return
    this.#isRefusing = isRefusing
    this.#events.refusing(isRefusing)
  }
}
