import { naiveCpuMs, relayAndRsaCpuMs, rsaCpuMs } from './cpu.ts'
import { withRelevo } from './running-relevo.ts'

/** `npm run bench -- --quick`: CPU per exchange beside one RSA decryption and beside a naive endpoint, all in one run. */
/** V8 compiles what an exchange uses for good after some 10,000. */
const ofRelay = { warmUp: 11_000, measured: 4000 }
const ofNaive = { warmUp: 1000, measured: 3000 }

await withRelevo(async (relevo) => {
  const { relay, rsa } = await relayAndRsaCpuMs(relevo, ofRelay, 3)
  const before = rsaCpuMs()
  const naive = await naiveCpuMs(ofNaive)
  const naiveTimes = naive / ((before + rsaCpuMs()) / 2)
  console.log(`CPU of one RSA decryption ${rsa.toFixed(3)} ms`)
  console.log(`CPU per exchange          ${relay.toFixed(3)} ms, of ${ofRelay.measured}`)
  console.log(
    `CPU of a naive endpoint   ${naive.toFixed(3)} ms a request, of ${ofNaive.measured}: ${naiveTimes.toFixed(2)} times RSA`,
  )
  const ratio = relay / rsa
  console.log(`ratio rsa=${ratio.toFixed(2)} naive=${(ratio / naiveTimes).toFixed(2)}`)
})
