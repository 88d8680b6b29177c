import { createServer } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openClient } from '../../../src/storage/driver.ts'
import { Primary, readHosts } from '../../../src/storage/hosts.ts'
import { eventually } from '../../support/eventually.ts'

describe('the hosts of a DATABASE_URL', () => {
  it('each has its port, and a URL without the others', () => {
    expect(
      readHosts('postgres://u:p%40@db1:5433,db2,[::1]:5434/relevo?sslmode=require&target_session_attrs=read-write'),
    ).toEqual([
      { hostname: 'db1', port: 5433, url: 'postgres://u:p%40@db1:5433/relevo?sslmode=require' },
      { hostname: 'db2', port: 5432, url: 'postgres://u:p%40@db2/relevo?sslmode=require' },
      { hostname: '::1', port: 5434, url: 'postgres://u:p%40@[::1]:5434/relevo?sslmode=require' },
    ])
  })

  it('one host is one', () => {
    expect(readHosts('postgresql://u:p@db/relevo')).toEqual([
      { hostname: 'db', port: 5432, url: 'postgresql://u:p@db/relevo' },
    ])
  })

  it.each([
    'postgres://u:p%40@%2Fvar%2Frun%2Fpg:5433/relevo?sslmode=disable',
    'postgres://u:p%40@/relevo?host=/var/run/pg&port=5433&sslmode=disable',
  ])('%s is a socket', (url) => {
    expect(readHosts(url)).toEqual([
      {
        hostname: '/var/run/pg',
        port: 5433,
        url: 'postgres://u:p%40@%2Fvar%2Frun%2Fpg:5433/relevo?sslmode=disable',
        socketPath: '/var/run/pg/.s.PGSQL.5433',
      },
    ])
  })

  it.each([
    'postgres://u:secret@%2Fsecret,db2/relevo',
    'postgres://u:secret@db1/relevo?host=/secret',
    'postgres:///relevo?host=secret',
  ])('%s names a host in a way that does not work, which is told', (url) => {
    expect(() => readHosts(url)).toThrow(
      /^must have (no folder of sockets among several hosts|its host before the database, or as \?host= a folder of sockets)$/,
    )
  })

  it.each([
    'http://db/relevo',
    'postgres://u:secret@db1,db2:x/relevo',
    'postgres://u:secret@db1,db2/relevo?target_session_attrs=any',
    'postgres://u:secret@db1,db2/relevo?target_session_attrs=standby',
  ])('%s is refused, and not repeated', (url) => {
    expect(() => readHosts(url)).toThrow(
      /^must (begin with postgres:\/\/|be a URL with one host or several, of a primary)$/,
    )
  })
})

describe('a % that begins no escape', () => {
  it.each(['u:50%secret@db1,db2', '%secret:p@db', 'u:p%80secret@db', 'u:p@50%secret', 'u:p@db/50%secret'])(
    'of %s is told',
    (authority) => {
      const url = `postgres://${authority}/relevo`
      expect(() => readHosts(url)).toThrow(/^must have a % of its user, password, host or database written as %25$/)
    },
  )

  it('written as %25 is taken', () => {
    expect(readHosts('postgres://u:50%25off@db/50%25')).toHaveLength(1)
  })
})

describe('hosts that take a connection and close it', () => {
  let asked = 0
  let port = 0
  const server = createServer((socket) => {
    asked++
    // Whatever comes, before the FIN and after: a clean end.
    socket.resume().end()
  })
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
  })
  afterAll(() => void server.close())
  beforeEach(() => {
    asked = 0
  })

  it('two: a query fails soon, and they are asked with a pause in between', async () => {
    const url = `postgres://u:p@127.0.0.1:${port},127.0.0.1:${port}/relevo`
    const client = openClient(url, { max: 1, backoff: () => 0 })
    const started = performance.now()
    for (let times = 0; times < 5; times++) await expect(client`select 1`).rejects.toThrow()
    // Two questions in each round; rounds are 0.2 s apart.
    const rounds = Math.ceil((performance.now() - started) / 200) + 1
    await client.end({ timeout: 1 })
    expect(asked).toBeGreaterThanOrEqual(2)
    expect(asked).toBeLessThanOrEqual(2 * rounds)
    expect(await new Primary(readHosts(url)).find()).toBeNull()
  })

  it('one: it is tried again with a pause in between', async () => {
    const client = openClient(`postgres://u:p@127.0.0.1:${port}/relevo`, { max: 1 })
    const started = performance.now()
    const asking = expect(client`select 1`).rejects.toThrow()
    await eventually(() => asked >= 4, { timeoutMs: 20_000 })
    expect(asked).toBeLessThanOrEqual(Math.ceil((performance.now() - started) / 200) + 1)
    await client.end({ timeout: 0 })
    await asking
  })
})
