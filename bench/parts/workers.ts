import { pin } from '../../test/durability/cores.ts'
import { rsaCpuMs } from '../cpu.ts'
import { type LoadedRelevo, startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Extent, ms, type Part, times, whole } from '../part.ts'
import { cpuMsOf, residentMiBOf, treeOf } from '../process-cpu.ts'

/** So many calls at once for each process: each of two is as busy as one alone. */
const atOnceEach = 16

/**
 * (f): WORKERS=1 and 2. Two processes with load, tenant and database want more than two cores. So of two only the first has a core of its own, and
 * what it spends on an exchange of its own is set beside what one alone spends; the second shares the other core with all else, and does not count.
 * Each compiles for itself: the warm-up is per process.
 */
export const workers: Part = async function* (extent) {
  const one = await measure(1, extent)
  const two = await measure(2, extent)
  const rsa = rsaCpuMs()
  const line = ({ cpuMs, exchanges }: typeof one) =>
    `${ms(cpuMs)}, ${times(cpuMs / rsa)} times RSA, of ${whole(exchanges)}`
  yield ['WORKERS=1: CPU per exchange', line(one)]
  yield ['WORKERS=2: CPU per exchange of the process that has a core of its own', line(two)]
  yield ['two over one, exchanges per second on a core each, by that CPU', times((2 * one.cpuMs) / two.cpuMs)]
  yield ['WORKERS=2: resident memory of each process', `${two.residentMiB.map((mib) => mib.toFixed(0)).join(', ')} MiB`]
}

async function measure(count: number, { warmUp, exchanges }: Extent) {
  return withSurroundings(async (surroundings) => {
    const relevo = await startLoaded(surroundings, { WORKERS: String(count) })
    const processes = treeOf(relevo.serving.relevo.pid)
    const [first, ...others] = count === 1 ? processes : processes.slice(1)
    if (first === undefined) throw new Error('no process serves')
    if (count > 1) for (const pid of [relevo.serving.relevo.pid, ...others]) pin(pid, 1)
    await relevo.play(warmUp * count, atOnceEach * count)
    const [cpuBefore, servedBefore] = [cpuMsOf(first), servedBy(first, relevo)]
    await relevo.play(exchanges * count, atOnceEach * count)
    const served = servedBy(first, relevo) - servedBefore
    const cpuMs = (cpuMsOf(first) - cpuBefore) / served
    const residentMiB = processes.map((pid) => residentMiBOf(pid).now)
    await relevo.end()
    return { cpuMs, exchanges: served, residentMiB }
  })
}

/** By the lines of its log, of which each exchange has one. */
function servedBy(pid: number, { serving }: LoadedRelevo): number {
  const ofProcess = `"pid":${pid},`
  return serving.relevo
    .output()
    .split('\n')
    .filter((line) => line.includes(ofProcess) && line.includes('"msg":"exchange"')).length
}
