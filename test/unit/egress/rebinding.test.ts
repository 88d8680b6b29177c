import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { type Connector, createConnector } from '../../../src/egress/connector.ts'
import { AddressBlocked } from '../../../src/egress/errors.ts'
import { createResolver, type Resolver } from '../../../src/egress/resolver.ts'
import { eventually } from '../../support/eventually.ts'
import { type NameServer, type NameServerRecords, startNameServer } from '../../support/name-server.ts'

/** Real DNS, real connector, real sockets. Of this machine's addresses one may be called, and something listens on all. */
const allowed = '127.0.0.1'
const blocked = ['127.0.0.2', '127.0.0.3', '0.0.0.0', '10.0.0.1', '169.254.169.254', '192.168.0.1']
const blockedIpv6 = ['::1', '::', '::ffff:127.0.0.2', '::7f00:1', 'fe80::1', '64:ff9b::7f00:1', '64:ff9b::7f00:2']

/** One of them, to which a connection would be seen. */
const inside = process.platform === 'linux' ? '127.0.0.2' : '::1'

let listener: Server
let port: number
/** Addresses of this machine that somebody reached, and how often. */
const reached = new Map<string, number>()
let nameServer: NameServer
let resolver: Resolver
let connect: Connector
let clock = 0

beforeAll(async () => {
  listener = createServer((socket) => {
    const address = String(socket.localAddress).replace(/^::ffff:/, '')
    reached.set(address, (reached.get(address) ?? 0) + 1)
    socket.on('error', () => {}).destroy()
  })
  await once(listener.listen(0), 'listening')
  port = (listener.address() as AddressInfo).port
  nameServer = await startNameServer()
  resolver = createResolver({
    servers: () => [nameServer.address],
    hostsPath: '/nowhere',
    haveIpv6: () => true,
    now: () => clock,
  })
  connect = connectorFor(`${allowed}/32`)
})
afterAll(async () => {
  resolver.close()
  await nameServer.close()
  listener.close()
})

const connectorFor = (...allowedNetworks: string[]): Connector =>
  createConnector({ guard: createAddressGuard({ allowHttp: true, allowedNetworks }), resolver })

interface Ending {
  /** Where Node tried to connect. */
  readonly tried: readonly string[]
  readonly failure: Error | null
}

function connectTo(hostname: string, through = connect): Promise<Ending> {
  const { promise, resolve } = Promise.withResolvers<Ending>()
  const tried: string[] = []
  const target = { protocol: 'http:', hostname, host: `${hostname}:${port}`, port: `${port}` }
  const ended = (failure: Error | null, connected: Socket | null) => {
    connected?.resetAndDestroy()
    resolve({ tried, failure })
  }
  through(target, ended, (socket) => socket.on('connectionAttempt', (address: string) => tried.push(address)))
  return promise
}

const answer: fc.Arbitrary<NameServerRecords> = fc.record(
  {
    a: fc.array(fc.constantFrom(allowed, ...blocked), { maxLength: 3 }),
    aaaa: fc.array(fc.constantFrom(...blockedIpv6), { maxLength: 2 }),
    ttl: fc.constantFrom(0, 0, 1, 400),
    cname: fc.constantFrom('other.example', 'localhost'),
  },
  { requiredKeys: ['a', 'aaaa', 'ttl'] },
)
const names = 25
const rounds = 4
const numRuns = 100
/** For each name the answers that it gives in turn, and the time that passes before each round of connections. */
const plan = fc.record({
  answers: fc.array(fc.array(answer, { minLength: 2, maxLength: 3 }), { minLength: names, maxLength: names }),
  elapsedMs: fc.array(fc.constantFrom(0, 5_000, 300_000), { minLength: rounds, maxLength: rounds }),
})

test(`of ${numRuns * names * rounds} connections to names whose answers alternate none goes where it may not`, async () => {
  const endings: Ending[] = []
  await fc.assert(
    fc.asyncProperty(plan, async ({ answers, elapsedMs }) => {
      const hosts = answers.map((_, at) => `n${endings.length + at}.example`)
      for (const [at, host] of hosts.entries()) nameServer.set(host, ...(answers[at] ?? []))
      for (const ms of elapsedMs) {
        clock += ms
        const round = await Promise.all(hosts.map((host) => connectTo(host)))
        endings.push(...round)
        if (round.some(({ tried }) => tried.some((address) => address !== allowed))) return false
        if (round.some(({ tried, failure }) => tried.length > 0 !== (failure === null))) return false
      }
      return true
    }),
    { numRuns },
  )
  expect(endings).toHaveLength(numRuns * names * rounds)
  expect([...reached.keys()]).toEqual([allowed])
  // Each end was met often enough to mean something.
  expect(reached.get(allowed)).toBeGreaterThan(1_000)
  expect(endings.filter(({ failure }) => failure instanceof AddressBlocked).length).toBeGreaterThan(1_000)
}, 120_000)

test('a connection that goes where it may not would be seen', async () => {
  nameServer.set('inside.example', inside.includes(':') ? { aaaa: [inside] } : { a: [inside] })
  expect(await connectTo('inside.example', connectorFor('127.0.0.0/8', '::1/128'))).toMatchObject({ failure: null })
  await eventually(() => reached.has(inside))
})
