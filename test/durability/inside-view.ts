import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { memoryUsage } from 'node:process'
import { GCProfiler, queryObjects } from 'node:v8'
import { Repeats } from '../../src/relay/repeats.ts'

// Preloaded into a Relevo that is measured (`NODE_OPTIONS=--import …`), so that nothing of it is in the product: on SIGWINCH it prints one line of what
// is in the process, on SIGIO also what only a walk over the whole heap can count. Only the walk collects, and stands still for 0.1 to
// 0.3 s: a load that is measured rests meanwhile.

export type Peer = 'meta' | 'database' | 'tenant' | 'observers' | 'others'

/** One look into the process. */
export interface InsideView {
  /** What the last full collection since the look before left; null if there was none. */
  readonly heapBytes: number | null
  /** Buffers and what else is outside the heap. */
  readonly externalBytes: number
  readonly residentBytes: number
  /** Open ones, by who is at the other end. */
  readonly sockets: Readonly<Record<Peer, number>>
  /** That keep the process alive. */
  readonly timers: number
  /** On the process and all open sockets and servers. */
  readonly listeners: number
  /** Answers that are kept for repetitions: they gather for the first ten minutes. */
  readonly keptAnswers: number
  /** Objects that live, whether or not anything is still to come of them. Null unless asked for. */
  readonly objects: { readonly timers: number; readonly sockets: number } | null
}

const Timeout = clearedTimer().constructor
let profiler = startedProfiler()

const peersByPort = new Map(JSON.parse(process.env.INSIDE_PEERS ?? '[]') as [number, Peer][])
const seen = new Set<{ readonly size: number }>()
const { keep } = Repeats.prototype
Repeats.prototype.keep = function (...args) {
  seen.add(this)
  return keep.apply(this, args)
}

process.on('SIGWINCH', () => print(false))
process.on('SIGIO', () => print(true))

function print(walksHeap: boolean): void {
  const objects = walksHeap ? { timers: living(Timeout), sockets: living(Socket) } : null
  const { external, rss } = memoryUsage()
  const view: InsideView = {
    heapBytes: heapAfterCollection(),
    externalBytes: external,
    residentBytes: rss,
    sockets: socketsByPeer(),
    timers: process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length,
    listeners: listenersOf(process) + openHandles().reduce((sum, handle) => sum + listenersOf(handle), 0),
    keptAnswers: [...seen].reduce((sum, { size }) => sum + size, 0),
    objects,
  }
  process.stdout.write(`inside ${JSON.stringify(view)}\n`)
}

function heapAfterCollection(): number | null {
  const collections = profiler.stop().statistics.filter(({ gcType }) => gcType === 'MarkSweepCompact')
  profiler = startedProfiler()
  return collections.at(-1)?.afterGC.heapStatistics.usedHeapSize ?? null
}

function startedProfiler(): GCProfiler {
  const started = new GCProfiler()
  started.start()
  return started
}

function clearedTimer(): NodeJS.Timeout {
  const timer = setTimeout(() => undefined)
  clearTimeout(timer)
  return timer
}

const living = (kind: unknown) => queryObjects(kind as never, { format: 'count' }) as unknown as number

function openHandles(): EventEmitter[] {
  const { _getActiveHandles: handles } = process as unknown as { _getActiveHandles: () => object[] }
  return handles.call(process).filter((handle): handle is EventEmitter => 'eventNames' in handle)
}

function listenersOf(emitter: EventEmitter): number {
  return emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0)
}

function socketsByPeer(): InsideView['sockets'] {
  const counts = { meta: 0, database: 0, tenant: 0, observers: 0, others: 0 }
  for (const handle of openHandles()) {
    if (!(handle instanceof Socket) || handle.remotePort === undefined) continue
    const isTaken = 'server' in handle && handle.server !== null && handle.server !== undefined
    counts[isTaken ? 'meta' : (peersByPort.get(handle.remotePort) ?? 'others')]++
  }
  return counts
}
