import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { openClient } from '../../../src/storage/driver.ts'
import { Primary, readHosts } from '../../../src/storage/hosts.ts'

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

describe('several hosts of which none answers', () => {
  it('a query fails soon, and the hosts are not asked without a pause', async () => {
    let asked = 0
    const server = createServer((socket) => {
      asked++
      socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const url = `postgres://u:p@127.0.0.1:${port},127.0.0.1:${port}/relevo`
    const client = openClient(url, { max: 1, backoff: () => 0 })
    const started = performance.now()
    for (let times = 0; times < 5; times++) await expect(client`select 1`).rejects.toThrow()
    // Two questions in each round; rounds are 0.2 s apart.
    const rounds = Math.ceil((performance.now() - started) / 200) + 1
    await client.end({ timeout: 1 })
    server.close()
    expect(asked).toBeGreaterThanOrEqual(2)
    expect(asked).toBeLessThanOrEqual(2 * rounds)
    expect(await new Primary(readHosts(url)).find()).toBeNull()
  })
})
