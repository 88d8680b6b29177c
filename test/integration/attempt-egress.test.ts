import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Client } from 'undici'
import { describe, expect, test } from 'vitest'
import { createAddressGuard } from '../../src/egress/address-guard.ts'
import { createConnector } from '../../src/egress/connector.ts'
import { createDispatchers } from '../../src/egress/dispatcher.ts'
import type { Resolver } from '../../src/egress/resolver.ts'
import { makeCertificate } from '../support/certificate.ts'
import { type FakeTenant, startHangingPort, startTenant } from '../support/tenant.ts'
import * as does from '../support/tenant-behaviours.ts'
import { type AttemptSetup, setUpAttempts } from './attempt-setup.ts'

let setup: AttemptSetup
setUpAttempts((fresh) => {
  setup = fresh
})

describe('the address guard', () => {
  const resolving = (...addresses: string[]): Resolver => ({ resolve: async () => addresses, close: () => {} })

  test.each(['http://127.0.0.1:1/', 'http://2130706433/', 'http://[::1]:1/', 'http://[::ffff:127.0.0.1]/'])(
    'blocks the literal %s',
    async (url) => {
      expect(await setup.send({ url }, setup.open({ allowedNetworks: [] }))).toMatchObject({
        failure: 'address_blocked',
        fault: 'tenant',
      })
    },
  )

  test('blocks a name with blocked addresses only', async () => {
    const guarded = setup.open({ allowedNetworks: [], resolver: resolving('127.0.0.1', '10.0.0.1', 'fe80::1') })
    expect(await setup.send({ url: 'http://rebound.example/' }, guarded)).toMatchObject({ failure: 'address_blocked' })
  })

  test('connects to the allowed one among several', async () => {
    setup.tenant.next(does.reply({}))
    const { port } = new URL(setup.tenant.url)
    const through = setup.open({ resolver: resolving('10.0.0.1', '127.0.0.1', 'fe80::1') })
    expect(await setup.send({ url: `http://mixed.example:${port}/` }, through)).toMatchObject({ status: 200 })
    expect(setup.tenant.received[0]?.headers.host).toBe(`mixed.example:${port}`)
  })

  test('goes on to the next address where one refuses', async () => {
    setup.tenant.next(does.reply({}))
    const { port } = new URL(setup.tenant.url)
    const through = setup.open({ resolver: resolving('127.0.0.2', '127.0.0.1') })
    expect(await setup.send({ url: `http://two.example:${port}/` }, through)).toMatchObject({ status: 200 })
  })

  test('judges an address that was cut off again before it is tried again', async () => {
    const hanging = await startHangingPort()
    setup.extras.push(() => hanging.close())
    const judged: string[] = []
    // Both may be called at first.
    const allows = (address: string) => judged.push(address) <= 2
    const guard = { ...createAddressGuard({ allowHttp: true, allowedNetworks: [] }), allows }
    const through = createDispatchers({ guard, resolver: resolving('127.0.0.1', '127.0.0.2') })
    setup.extras.push(() => through.close())
    const url = `http://slow.example:${hanging.port}/`
    expect(await setup.send({ url }, through)).toMatchObject({ failure: 'address_blocked' })
    expect(judged).toEqual(['127.0.0.1', '127.0.0.2', '127.0.0.1'])
  })

  test('blocks plain http and low ports also where a row has them', async () => {
    const guard = createAddressGuard({ allowHttp: false, allowedNetworks: ['127.0.0.0/8'] })
    const strict = createDispatchers({ guard, resolver: setup.resolver })
    setup.extras.push(() => strict.close())
    expect(await setup.send({}, strict)).toMatchObject({ failure: 'address_blocked' })
    expect(await setup.send({ url: 'http://127.0.0.1:22/' })).toMatchObject({ failure: 'address_blocked' })
    expect(await setup.send({ url: 'no url' })).toMatchObject({ failure: 'address_blocked' })
    expect(setup.tenant.received).toEqual([])
  })

  test.each(['user@', 'user:password@', ':password@'])('blocks a URL with %s, which a row may hold', async (user) => {
    const url = setup.tenant.url.replace('http://', `http://${user}`)
    expect(await setup.send({ url })).toMatchObject({ failure: 'address_blocked', connectMs: null })
    expect(setup.tenant.received).toEqual([])
  })

  test('blocks a literal at each request, on a connection that is there too', async () => {
    let refusal: string | null = null
    const guard = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8'] })
    const through = createDispatchers({ guard: { ...guard, refusalOfCall: () => refusal }, resolver: setup.resolver })
    setup.extras.push(() => through.close())
    setup.tenant.always(does.reply({}))
    expect(await setup.send({}, through)).toMatchObject({ status: 200 })
    refusal = 'It is one of ours by now.'
    expect(await setup.send({}, through)).toMatchObject({ failure: 'address_blocked' })
    expect(setup.tenant.received).toHaveLength(1)
  })

  const thrown = () => {
    throw new Error('broken')
  }
  test.each<[string, Resolver['resolve'], string]>([
    ['rejects', async () => thrown(), 'connect_failed'],
    ['throws', thrown, 'connect_failed'],
    ['gives nothing', async () => [], 'address_blocked'],
    ['gives what is no address', async () => ['', 'localhost', '127.1', '127.0.0.1%lo'], 'address_blocked'],
  ])('does not connect where the resolver %s', async (_, resolve, failure) => {
    const through = setup.open({ resolver: { resolve, close: () => {} } })
    const url = setup.tenant.url.replace('127.0.0.1', 'tenant.example')
    expect(await setup.send({ url }, through)).toMatchObject({ failure, connectMs: null })
    expect(setup.tenant.openSockets).toBe(0)
  })

  test('does not connect where the guard cannot judge', async () => {
    const guard = createAddressGuard({ allowHttp: true, allowedNetworks: [], ownAddresses: { has: thrown } })
    const through = createDispatchers({ guard, resolver: resolving('8.8.8.8') })
    setup.extras.push(() => through.close())
    expect(await setup.send({ url: 'http://tenant.example/' }, through)).toMatchObject({ failure: 'address_blocked' })
    expect(await setup.send({ url: 'http://8.8.8.8/' }, through)).toMatchObject({ failure: 'address_blocked' })
  })

  test.each(['allows', 'refusalOfCall'] as const)('does not connect where `%s` throws', async (member) => {
    const guard = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8'] })
    const { port } = new URL(setup.tenant.url)
    const connect = createConnector({ guard: { ...guard, [member]: thrown }, resolver: resolving('127.0.0.1') })
    const client = new Client(`http://tenant.example:${port}`, { connect: (...given) => void connect(...given) })
    setup.extras.push(() => client.destroy())
    await expect(client.request({ method: 'GET', path: '/' })).rejects.toThrow()
    expect(setup.tenant.openSockets).toBe(0)
  })
})

describe('TLS', () => {
  const certificate = makeCertificate({ hosts: ['localhost', '127.0.0.1'] })
  const startSecure = async (host: string, tls = certificate): Promise<FakeTenant> => {
    const secure = await startTenant({ tls, host })
    setup.extras.unshift(() => secure.close())
    return secure
  }

  test.each(['localhost', '127.0.0.1'])('a trusted certificate for %s', async (host) => {
    const secure = await startSecure(host)
    secure.always(does.reply({ data: {} }))
    const trusting = setup.open({ ca: certificate.cert })
    expect(await setup.send({ url: secure.url }, trusting)).toMatchObject({ status: 200, failure: null })
    expect(await setup.send({ url: secure.url }, trusting)).toMatchObject({ status: 200, failure: null })
    expect(secure.received.map((call) => call.connection)).toEqual([1, 1])
  })

  test('a second connection resumes the session of the first', async () => {
    const secure = await startSecure('localhost')
    const resumed: boolean[] = []
    secure.always((call) => {
      resumed.push((call.socket as TLSSocket).isSessionReused())
      return does.reply({ data: {} }, 200, { connection: 'close' })(call)
    })
    const trusting = setup.open({ ca: certificate.cert })
    for (let i = 0; i < 3; i++) await setup.send({ url: secure.url, webhookId: `wh_${i}` }, trusting)
    expect(resumed).toEqual([false, true, true])
  })

  test('an unknown authority, another name, an expired certificate: tls_failed', async () => {
    const secure = await startSecure('localhost')
    expect(await setup.send({ url: secure.url })).toMatchObject({
      failure: 'tls_failed',
      fault: 'tenant',
      status: null,
    })
    const named = makeCertificate({ hosts: ['other.example'] })
    const other = await startSecure('localhost', named)
    expect(await setup.send({ url: other.url }, setup.open({ ca: named.cert }))).toMatchObject({
      failure: 'tls_failed',
    })
    const expired = makeCertificate({ hosts: ['localhost'], notAfter: new Date(Date.UTC(2021, 0, 1)) })
    const late = await startSecure('localhost', expired)
    expect(await setup.send({ url: late.url }, setup.open({ ca: expired.cert }))).toMatchObject({
      failure: 'tls_failed',
    })
    expect([...secure.received, ...other.received, ...late.received]).toEqual([])
  })

  test('a server without TLS, or one that hangs up in the handshake: tls_failed', async () => {
    expect(await setup.send({ url: setup.tenant.url.replace('http:', 'https:') })).toMatchObject({
      failure: 'tls_failed',
    })
    const rude = createServer((socket) => socket.once('data', () => socket.resetAndDestroy()))
    await once(rude.listen(0, '127.0.0.1'), 'listening')
    setup.extras.push(() => rude.close())
    const { port } = rude.address() as AddressInfo
    expect(await setup.send({ url: `https://127.0.0.1:${port}/` })).toMatchObject({ failure: 'tls_failed' })
  })
})
