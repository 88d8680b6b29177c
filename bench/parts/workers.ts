import { rsaCpuMs } from '../cpu.ts'
import { startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Extent, ms, type Part, times } from '../part.ts'
import { residentMiBOf, treeOf } from '../process-cpu.ts'

/** So many calls at once for each process: each of two is as busy as one alone. */
const atOnceEach = 16

/**
 * (f): WORKERS=1 and 2. Two processes with load, tenant and database need more than two cores; so both are kept to one core, and what two cores
 * would do is reckoned from the CPU of all processes, the first one's too. Each compiles for itself: the warm-up is per process.
 */
export const workers: Part = async function* (extent) {
  const one = await measure(1, extent)
  const two = await measure(2, extent)
  const rsa = rsaCpuMs()
  for (const [count, { cpuMs }] of [one, two].entries())
    yield [`WORKERS=${count + 1}: CPU per exchange of all processes`, `${ms(cpuMs)}, ${times(cpuMs / rsa)} times RSA`]
  yield ['two over one, exchanges per second on a core each, by that CPU', times((2 * one.cpuMs) / two.cpuMs)]
  yield ['WORKERS=2: resident memory of each process', `${two.residentMiB.map((mib) => mib.toFixed(0)).join(', ')} MiB`]
}

async function measure(count: number, { warmUp, exchanges }: Extent) {
  return withSurroundings(async (surroundings) => {
    const relevo = await startLoaded(surroundings, { WORKERS: String(count) })
    await relevo.play(warmUp * count, atOnceEach * count)
    const before = relevo.cpuMs()
    await relevo.play(exchanges, atOnceEach * count)
    const cpuMs = (relevo.cpuMs() - before) / exchanges
    const residentMiB = treeOf(relevo.serving.relevo.pid).map((pid) => residentMiBOf(pid).now)
    await relevo.end()
    return { cpuMs, residentMiB }
  })
}
