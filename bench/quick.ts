import { naiveCpuMs, relayCpuMs, rsaCpuMs } from './cpu.ts'
import { withRelevo } from './running-relevo.ts'

/**
 * `npm run bench -- --quick`: CPU per exchange beside one RSA decryption and beside a naive endpoint, all in one run. In turns, because a machine that others use
 * too is a fifth faster or slower a minute later.
 */
const warmUp = 3000
const turns = 3
const ofTurn = { warmUp: 0, measured: 2000 }
const ofNaive = { warmUp: 1000, measured: 3000 }

await withRelevo(async (relevo) => {
  await relayCpuMs(relevo, { warmUp, measured: 1 })
  const [rsas, spents]: [number[], number[]] = [[], []]
  for (let turn = 0; turn < turns; turn++) {
    rsas.push(rsaCpuMs())
    spents.push(await relayCpuMs(relevo, ofTurn))
  }
  rsas.push(rsaCpuMs())
  const naive = await naiveCpuMs(ofNaive)
  const [rsa, spent, naiveRsa] = [mean(rsas), mean(spents), mean([rsas.at(-1) ?? 0, rsaCpuMs()])]
  console.log(`CPU of one RSA decryption ${rsa.toFixed(3)} ms`)
  console.log(`CPU per exchange          ${spent.toFixed(3)} ms, of ${turns * ofTurn.measured}`)
  console.log(
    `CPU of a naive endpoint   ${naive.toFixed(3)} ms a request, of ${ofNaive.measured}: ${(naive / naiveRsa).toFixed(2)} times RSA`,
  )
  const ratio = spent / rsa
  console.log(`ratio rsa=${ratio.toFixed(2)} naive=${(ratio / (naive / naiveRsa)).toFixed(2)}`)
})

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
