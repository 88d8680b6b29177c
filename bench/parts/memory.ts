import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeMessage } from '../../src/simulator/message.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { insideEnvironment, lookInside, type Sample } from '../../test/durability/inside.ts'
import { closedLoad } from '../../test/durability/overload-load.ts'
import { registerWorkspaces, type Serving, serve, type Workspace } from '../../test/durability/serving.ts'
import { eventually } from '../../test/support/eventually.ts'
import { startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Extent, type Finding, type Part, whole } from '../part.ts'
import { residentMiBOf } from '../process-cpu.ts'
import { manyAtOnce } from './throughput.ts'

const restMs = 5000

/** (g): what a WABA that nobody calls costs in memory, with and without its flow key open, and what the process has under load. */
export const memory: Part = async function* (extent) {
  yield* await idle(extent)
  yield* await atLoad(extent)
}

/** Each WABA with a workspace, an app secret, a flow key and a webhook of its own. Each figure of a process that was started for it and came to rest, after a full collection. */
async function idle({ wabas }: Extent): Promise<Finding[]> {
  const samples = await withSurroundings(async ({ databaseUrl, tenantUrl }) => {
    const masterKey = randomBytes(32).toString('base64')
    const start = (port: string) => serve(databaseUrl, { ...insideEnvironment({}), MASTER_KEY: masterKey, PORT: port })
    // A first process compiles what later ones read compiled.
    await (await start('0')).end()
    const first = await start('0')
    const none = await atRest(first)
    const registered = await registerWorkspaces(first, wabas, { url: tenantUrl })
    await first.end()
    // The same port: the tenants' clients call there.
    const second = await start(new URL(first.url).port)
    const all = await atRest(second)
    await pingAll(registered)
    const called = await lookInside(second.relevo, true)
    await second.end()
    return { none, all, called }
  })
  const each = (more: Sample, less: Sample) => {
    // Bytes of one are MB of a million: thousandths of that of a thousand.
    const megabytes = (of: (sample: Sample) => number) => `${((of(more) - of(less)) / wabas / 1000).toFixed(2)} MB`
    return `${megabytes(heapOf)} heap, ${megabytes((s) => s.externalBytes)} outside, ${megabytes((s) => s.residentBytes)} resident`
  }
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
  return [
    ['idle, no WABA: heap; resident', `${mebibytes(heapOf(samples.none))}; ${mebibytes(samples.none.residentBytes)}`],
    [`per 1,000 idle WABAs, of ${whole(wabas)}`, each(samples.all, samples.none)],
    ['per 1,000 WABAs, called once each', each(samples.called, samples.none)],
  ]
}

/** A walk over the heap collects first, so there is a figure. */
const heapOf = ({ heapBytes }: Sample) => heapBytes ?? Number.NaN

/** Ready, and what a start leaves behind is gone. */
async function atRest({ url, relevo }: Serving): Promise<Sample> {
  await eventually(async () => (await fetch(`${url}/readyz`)).ok, { timeoutMs: 60_000, everyMs: 50 })
  await sleep(restMs)
  return lookInside(relevo, true)
}

/** Opens each one's flow key. */
async function pingAll(workspaces: readonly Workspace[]): Promise<void> {
  const ping = writeMessage({ name: 'ping', action: 'ping' }, newFlowToken())
  for (const { meta } of workspaces) {
    const { kind, problem } = await meta.exchange(ping)
    if (problem !== undefined && problem !== null) throw new Error(`a ping was answered with ${kind}: ${problem}`)
    meta.close()
  }
}

async function atLoad({ warmUp, seconds }: Extent): Promise<Finding[]> {
  const { now, most } = await withSurroundings(async (surroundings) => {
    const relevo = await startLoaded(surroundings)
    await relevo.play(warmUp, 16)
    await closedLoad(relevo.call, manyAtOnce, seconds)
    const resident = residentMiBOf(relevo.serving.relevo.pid)
    await relevo.end()
    return resident
  })
  return [
    [`resident at saturation for ${whole(seconds)} s; at its most`, `${now.toFixed(0)} MiB; ${most.toFixed(0)} MiB`],
  ]
}
