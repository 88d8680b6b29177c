import { watchCores } from '../../test/durability/cores.ts'
import { closedLoad, type Tally } from '../../test/durability/overload-load.ts'
import { rsaCpuMs } from '../cpu.ts'
import { type LoadedRelevo, startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Extent, ms, type Part, share, times, whole } from '../part.ts'

/** Enough that the relay never waits for a call. */
export const manyAtOnce = 64

/** (b): exchanges per second of one process on one core with as many calls as it can take. */
export const throughput: Part = async function* (extent) {
  const { tally, cores, cpuMs } = await withSurroundings(async (surroundings) => {
    const relevo = await startLoaded(surroundings)
    const found = await saturate(relevo, extent)
    await relevo.end()
    return found
  })
  const rsa = rsaCpuMs()
  const [first = 0, second = 0] = cores
  yield [
    `exchanges per second, ${manyAtOnce} at once for ${tally.seconds.toFixed(0)} s`,
    whole(tally.replied / tally.seconds),
  ]
  yield ['of the relay’s core busy', share(first)]
  yield ['of the core of tenant, load and database busy', share(second)]
  yield ['CPU per exchange there', `${ms(cpuMs)}, ${times(cpuMs / rsa)} times RSA`]
  yield ['by that CPU a full core does, exchanges per second', whole(1000 / cpuMs)]
  yield ['answers that were not the tenant’s', `${wrongIn(tally)} of ${whole(tally.offered)}`]
}

async function saturate(relevo: LoadedRelevo, { warmUp, seconds }: Extent) {
  await relevo.play(warmUp, 16)
  await closedLoad(relevo.call, manyAtOnce, Math.min(5, seconds))
  const coresSince = watchCores()
  const before = relevo.cpuMs()
  const tally = await closedLoad(relevo.call, manyAtOnce, seconds)
  return { tally, cores: coresSince(), cpuMs: (relevo.cpuMs() - before) / tally.offered }
}

/** By what they were, where there are any. */
export function wrongIn({ wrong }: Tally): string {
  return [...wrong].map(([problem, count]) => `${count} ${problem}`).join(', ') || '0'
}
