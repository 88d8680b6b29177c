import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { parseHosts } from '../../../src/egress/hosts-file.ts'
import { createResolver, type Resolver } from '../../../src/egress/resolver.ts'
import { eventually } from '../../support/eventually.ts'
import { type NameServer, startNameServer } from '../../support/name-server.ts'

let server: NameServer
let resolver: Resolver
let folder: string
let clock = 0
/** Whether this machine has IPv6. */
let haveIpv6 = true
/** What this machine's resolv.conf says. */
let servers: string[]

beforeEach(async () => {
  clock = 1_000_000
  haveIpv6 = true
  server = await startNameServer()
  folder = await mkdtemp(join(tmpdir(), 'relevo-hosts-'))
  servers = [server.address]
  resolver = createResolver({
    servers: () => servers,
    resolvConfPath: join(folder, 'resolv.conf'),
    hostsPath: join(folder, 'hosts'),
    haveIpv6: () => haveIpv6,
    now: () => clock,
  })
})

afterEach(async () => {
  resolver.close()
  await server.close()
  await rm(folder, { recursive: true })
})

describe('DNS', () => {
  test('gives the addresses of both families, IPv4 first', async () => {
    server.set('tenant.example', { a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:db8:0:0:0:0:0:1'] })
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1'])
  })

  test('gives the one family that there is', async () => {
    server.set('four.example', { a: ['192.0.2.1'] })
    server.set('six.example', { aaaa: ['2001:db8:0:0:0:0:0:1'] })
    expect(await resolver.resolve('four.example')).toEqual(['192.0.2.1'])
    expect(await resolver.resolve('six.example')).toEqual(['2001:db8::1'])
  })

  test('does not wait for a server that drops AAAA queries', async () => {
    server.set('deaf.example', { a: ['192.0.2.1'], silent: 'aaaa' })
    expect(await resolver.resolve('deaf.example')).toEqual(['192.0.2.1'])
  })

  test('waits for IPv4 that answers late, its first datagram lost: IPv6 alone is of no use on many a machine', async () => {
    const records = { a: ['192.0.2.1'], aaaa: ['2001:db8:0:0:0:0:0:1'] }
    server.set('tenant.example', { ...records, silent: 'a' }, records)
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1', '2001:db8::1'])
  })

  test('gives no IPv6 beside IPv4 where this machine has none', async () => {
    const records = { a: ['192.0.2.1'], aaaa: ['2001:db8:0:0:0:0:0:1'] }
    haveIpv6 = false
    server.set('both.example', records)
    server.set('late.example', { ...records, silent: 'a' }, records)
    server.set('six.example', { aaaa: records.aaaa })
    expect(await resolver.resolve('both.example')).toEqual(records.a)
    expect(await resolver.resolve('late.example')).toEqual(records.a)
    expect(await resolver.resolve('six.example')).toEqual(['2001:db8::1'])
  })

  test('IPv6 that answers late, its first datagram lost, is kept beside IPv4', async () => {
    const records = { a: ['192.0.2.1'], aaaa: ['2001:db8:0:0:0:0:0:1'] }
    server.set('tenant.example', { ...records, silent: 'aaaa' }, records)
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1'])
    await eventually(async () => (await resolver.resolve('tenant.example')).length === 2)
    const asked = [...server.queries]
    clock += 59_000
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1', '2001:db8::1'])
    expect(server.queries).toEqual(asked)
  })

  test.each([
    ['a', '2001:db8::1'],
    ['aaaa', '192.0.2.1'],
  ] as const)('is asked again after 5 s where the %s query failed', async (failing, left) => {
    const records = { a: ['192.0.2.1'], aaaa: ['2001:db8:0:0:0:0:0:1'] }
    server.set('tenant.example', { ...records, failing })
    expect(await resolver.resolve('tenant.example')).toEqual([left])
    server.set('tenant.example', records)
    clock += 4_999
    expect(await resolver.resolve('tenant.example')).toEqual([left])
    clock += 1
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1', '2001:db8::1'])
  })

  test.each(['failing', 'silent'])(
    'a server whose AAAA is always %s is asked ever less, at last once in a TTL',
    async (how) => {
      server.set('deaf.example', { a: ['192.0.2.1'], [how]: 'aaaa' })
      const askedAt: number[] = []
      for (let second = 0; second < 300; second++) {
        const before = server.queries.length
        await resolver.resolve('deaf.example')
        if (server.queries.slice(before).includes('A deaf.example')) askedAt.push(second)
        clock += 1_000
      }
      expect(askedAt).toEqual([0, 5, 15, 35, 75, 135, 195, 255])
    },
  )

  test('one lookup serves all who ask meanwhile, in any spelling', async () => {
    server.set('tenant.example', { a: ['192.0.2.1'] })
    const names = ['tenant.example', 'TENANT.example', 'tenant.example.']
    await Promise.all(names.map((name) => resolver.resolve(name)))
    expect(server.queries.toSorted()).toEqual(['A tenant.example', 'AAAA tenant.example'])
  })

  test.each([
    [60, 59_000, 60_000],
    [1, 4_999, 5_000],
    [86_400, 299_999, 300_000],
  ])('a TTL of %i s is used until %i ms and gone at %i ms', async (ttl, keptAfterMs, goneAfterMs) => {
    server.set('tenant.example', { a: ['192.0.2.1'], ttl })
    await resolver.resolve('tenant.example')
    server.set('tenant.example', { a: ['192.0.2.2'], ttl })
    clock += keptAfterMs
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1'])
    clock += goneAfterMs - keptAfterMs
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.2'])
  })

  test('a failure is told by its code and not kept', async () => {
    await expect(resolver.resolve('tenant.example')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    server.set('tenant.example', { a: ['192.0.2.1'] })
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1'])
    server.set('broken.example', 'servfail')
    await expect(resolver.resolve('broken.example')).rejects.toMatchObject({ code: 'ESERVFAIL' })
  })

  test('a name without addresses is a failure', async () => {
    server.set('empty.example', {})
    await expect(resolver.resolve('empty.example')).rejects.toMatchObject({ code: 'ENODATA' })
  })

  test('asks other servers once the file that names them is another', async () => {
    const other = await startNameServer()
    onTestFinished(() => other.close())
    const resolvConfPath = join(folder, 'resolv.conf')
    await writeFile(resolvConfPath, 'before')
    server.set('silent.example', { silent: 'both' })
    server.set('tenant.example', { a: ['192.0.2.1'], ttl: 1 })
    other.set('tenant.example', { a: ['192.0.2.2'], ttl: 1 })
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1'])
    const underWay = resolver.resolve('silent.example')
    servers = [other.address]
    clock += 5_000
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.1'])
    await writeFile(resolvConfPath, 'afterwards')
    clock += 5_000
    expect(await resolver.resolve('tenant.example')).toEqual(['192.0.2.2'])
    server.set('silent.example', { a: ['192.0.2.3'] })
    expect(await underWay).toEqual(['192.0.2.3'])
  })

  test('close ends what is under way', async () => {
    server.set('silent.example', { silent: 'both' })
    const asked = resolver.resolve('silent.example')
    resolver.close()
    await expect(asked).rejects.toMatchObject({ code: 'ECANCELLED' })
  })
})

describe('hosts file', () => {
  const hostsPath = () => join(folder, 'hosts')

  test('comes before DNS, and is read again when it changes', async () => {
    server.set('listed.example', { a: ['192.0.2.9'] })
    await writeFile(hostsPath(), '127.0.0.9 listed.example alias.example\n')
    expect(await resolver.resolve('Listed.example')).toEqual(['127.0.0.9'])
    expect(await resolver.resolve('alias.example.')).toEqual(['127.0.0.9'])
    await writeFile(hostsPath(), '127.0.0.10 listed.example\n# the other is gone\n')
    clock += 1_000
    expect(await resolver.resolve('listed.example')).toEqual(['127.0.0.10'])
    await expect(resolver.resolve('alias.example')).rejects.toMatchObject({ code: 'ENOTFOUND' })
    await rm(hostsPath())
    clock += 1_000
    expect(await resolver.resolve('listed.example')).toEqual(['192.0.2.9'])
  })

  test('localhost needs neither file nor DNS', async () => {
    expect(await resolver.resolve('localhost')).toEqual(['127.0.0.1', '::1'])
    expect(await resolver.resolve('api.localhost.')).toEqual(['127.0.0.1', '::1'])
    await writeFile(hostsPath(), '127.0.0.2 localhost\n')
    clock += 1_000
    expect(await resolver.resolve('localhost')).toEqual(['127.0.0.2'])
    expect(server.queries).toEqual([])
  })

  test('format of hosts(5)', () => {
    const text = '# comment\n\n  127.0.0.1\tlocalhost   Box # trailing\r\n::1 localhost\n10.0.0.1\n#10.0.0.2 ghost\n'
    expect(Object.fromEntries(parseHosts(text))).toEqual({ localhost: ['127.0.0.1', '::1'], box: ['127.0.0.1'] })
  })
})
