import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

/**
 * The port that several processes are to share: the given one, if nobody has it, or for 0 any. They share it with whoever asks the kernel for
 * that, another Relevo too, which would get half of the calls; so it is tried without sharing first. Throws what listening throws.
 */
export async function claimPort(host: string, port: number): Promise<number> {
  const server = createServer().listen({ host, port })
  await once(server, 'listening')
  const { port: claimed } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return claimed
}
