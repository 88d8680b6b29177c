import { naiveCpuMs, relayCpuMs, rsaCpuMs } from './cpu.ts'
import { withRelevo } from './running-relevo.ts'

/** `npm run bench -- --quick`: CPU per exchange beside one RSA decryption and beside a naive endpoint, all in one run. */
const count = { warmUp: 1000, measured: 4000 }

await withRelevo(async (relevo) => {
  const rsaBefore = rsaCpuMs()
  const spent = await relayCpuMs(relevo, count)
  const naive = await naiveCpuMs(count)
  const rsa = (rsaBefore + rsaCpuMs()) / 2
  console.log(`CPU of one RSA decryption ${rsa.toFixed(3)} ms`)
  console.log(`CPU per exchange          ${spent.toFixed(3)} ms, of ${count.measured}`)
  console.log(
    `CPU of a naive endpoint   ${naive.toFixed(3)} ms a request, of ${count.measured}: ${(naive / rsa).toFixed(2)} times RSA`,
  )
  console.log(`ratio rsa=${(spent / rsa).toFixed(2)} naive=${(spent / naive).toFixed(2)}`)
})
