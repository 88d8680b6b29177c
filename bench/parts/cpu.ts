import { naiveCpuMs, relayAndRsaCpuMs, rsaCpuMs } from '../cpu.ts'
import { type Extent, ms, type Part, times, whole } from '../part.ts'
import { type RunningRelevo, withRelevo } from '../running-relevo.ts'

/** (a): CPU of the relay's process per exchange beside the CPU of one RSA decryption, 24 at once. */
export const cpuOfAnExchange: Part = async function* ({ warmUp, exchanges }: Extent) {
  const measured = (relevo: RunningRelevo) => relayAndRsaCpuMs(relevo, { warmUp, measured: exchanges }, 10)
  const { relay, rsa } = await withRelevo(measured)
  yield ['CPU of one RSA-2048 OAEP decryption', ms(rsa)]
  yield [`CPU per exchange, of ${whole(exchanges)}, 24 at once`, ms(relay)]
  yield ['ratio rsa', times(relay / rsa)]
}

/** (i): an endpoint as the public samples are, with the same requests. */
export const naiveServer: Part = async function* ({ warmUp, exchanges }: Extent) {
  const before = rsaCpuMs()
  const spent = await naiveCpuMs({ warmUp, measured: exchanges })
  const rsa = (before + rsaCpuMs()) / 2
  yield ['CPU of one RSA-2048 OAEP decryption', ms(rsa)]
  yield [`CPU of a request to the naive endpoint, of ${whole(exchanges)}`, ms(spent)]
  yield ['naive endpoint, times RSA', times(spent / rsa)]
}
