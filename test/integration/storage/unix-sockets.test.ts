import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openClient } from '../../../src/storage/driver.ts'
import { useEmbedded, usePlantedCluster } from '../../support/embedded-fixture.ts'

const fixture = useEmbedded()
usePlantedCluster(fixture)

it('a database is reached by a socket of the file system, whatever its name', async () => {
  // PostgreSQL's own folder: its user can write there.
  const folder = join(fixture.dataDir, 'postgresql')
  const serverSettings = { unix_socket_directories: folder }
  const { url } = await fixture.start({ serverSettings, database: 'a b%' })
  const { username, password, port } = new URL(url)
  const user = `${username}:${password}@`
  const urls = [
    `postgres://${user}127.0.0.1:${port}/a%20b%25`,
    `postgres://${user}${encodeURIComponent(folder)}:${port}/a%20b%25`,
    `postgres://${user}/a%20b%25?host=${folder}&port=${port}`,
  ]
  const found = urls.map(async (given) => {
    const client = openClient(given, { max: 1 })
    const [row] = await client`select current_database() as name, inet_server_addr() is null as local`
    await client.end()
    return row
  })
  const name = 'a b%'
  expect(await Promise.all(found)).toEqual([
    { name, local: false },
    { name, local: true },
    { name, local: true },
  ])
})
