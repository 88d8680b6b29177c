import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import type { JsonObject } from '../src/simulator/json.ts'
import { pin } from '../test/durability/cores.ts'
import { createWireClient } from '../test/durability/wire-client.ts'
import { playExchanges, type RunningRelevo } from './running-relevo.ts'

/** As many at once as a relay serves whole however slow its machine is (docs/adr/0006-overload.md): the core is busy, nothing is shed. */
const atOnce = 24

export interface Count {
  readonly warmUp: number
  readonly measured: number
}

/** CPU of the relay's process per exchange, ms, of user and system. `payload`: what each exchange has for data. */
export async function relayCpuMs(
  { play, cpuMs }: RunningRelevo,
  { warmUp, measured }: Count,
  payload?: JsonObject,
): Promise<number> {
  await play(warmUp, atOnce, payload)
  const before = cpuMs()
  await play(measured, atOnce, payload)
  return (cpuMs() - before) / measured
}

/**
 * The same in turns with RSA, ms, both: a machine that others use too is a fifth faster or slower a minute later. `measured` over all turns.
 */
export async function relayAndRsaCpuMs(
  relevo: RunningRelevo,
  { warmUp, measured }: Count,
  turns: number,
): Promise<{ readonly relay: number; readonly rsa: number }> {
  await relayCpuMs(relevo, { warmUp, measured: 1 })
  const [rsas, relays] = [[rsaCpuMs()], [] as number[]]
  for (let turn = 0; turn < turns; turn++) {
    relays.push(await relayCpuMs(relevo, { warmUp: 0, measured: Math.ceil(measured / turns) }))
    rsas.push(rsaCpuMs())
  }
  return { relay: mean(relays), rsa: mean(rsas) }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** CPU of one RSA-2048 OAEP decryption, ms, on the core that the relay has. */
export function rsaCpuMs(): number {
  const args = ['-c', '0', process.execPath, join(import.meta.dirname, 'rsa.ts')]
  return Number(execFileSync('taskset', args, { encoding: 'utf8' }))
}

/** p50 of a bare round trip to the database from the core that the relay has, ms: in a loop, and 15 ms after the one before. */
export function roundTripMs(databaseUrl: string): readonly [inLoop: number, fromIdle: number] {
  const args = ['-c', '0', process.execPath, join(import.meta.dirname, 'round-trip.ts'), databaseUrl]
  return JSON.parse(execFileSync('taskset', args, { encoding: 'utf8' }))
}

/** CPU per request of an endpoint built as the public samples are, ms, on the core that the relay has. */
export async function naiveCpuMs({ warmUp, measured }: Count): Promise<number> {
  const children = createChildren(join(import.meta.dirname, '..'), new AbortController().signal)
  const appSecret = randomBytes(16).toString('hex')
  try {
    const url = await children.start('naive server', ['bench/naive-server.ts', appSecret], {})
    const ask = async (path: string) => (await fetch(`${url}${path}`)).text()
    pin(Number(await ask('/pid')), 0)
    const meta = createWireClient({ endpointUri: `${url}/`, publicKeyPem: await ask('/public-key'), appSecret })
    const cpuMs = async () => {
      const { user, system } = JSON.parse(await ask('/cpu'))
      return (user + system) / 1000
    }
    await playExchanges(meta, warmUp, atOnce)
    const before = await cpuMs()
    await playExchanges(meta, measured, atOnce)
    const spent = ((await cpuMs()) - before) / measured
    meta.close()
    return spent
  } finally {
    await children.stop()
  }
}
