import { chown, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { openDatabase, StorageError, storing } from '../../../src/storage/database.ts'
import { makeCertificate } from '../../support/certificate.ts'
import { useEmbedded, usePlantedCluster } from '../../support/embedded-fixture.ts'
import { endProcesses, runRelevo } from '../../support/process.ts'

const fixture = useEmbedded()
usePlantedCluster(fixture)
afterEach(endProcesses)

/** A server that takes TLS with a certificate for `localhost` that nobody knows, and on its database `relevo` nothing else. */
async function startWithTls(): Promise<{ url: string; ca: string }> {
  const cluster = join(fixture.dataDir, 'postgresql')
  const { uid, gid } = await stat(cluster)
  const { key, cert } = makeCertificate({ hosts: ['localhost'] })
  const access = [
    'host postgres all 127.0.0.1/32 scram-sha-256',
    'hostssl relevo all 127.0.0.1/32 scram-sha-256',
    '',
  ].join('\n')
  for (const [name, text] of Object.entries({ 'server.key': key, 'server.crt': cert, 'pg_hba.conf': access })) {
    await writeFile(join(cluster, name), text, { mode: 0o600 })
    await chown(join(cluster, name), uid, gid)
  }
  const ca = join(fixture.dataDir, 'ca.pem')
  await writeFile(ca, cert)
  const { url } = await fixture.start({ serverSettings: { ssl: 'on' } })
  return { url: url.replace('127.0.0.1', 'localhost'), ca }
}

/** What comes of a first statement: its failure's code, or nothing to complain of. */
async function codeAt(url: string): Promise<string> {
  const database = openDatabase({ url, prepare: true })
  try {
    await storing('ask', () => database.sql`select 1`)
    return 'connected'
  } catch (error) {
    return error instanceof StorageError ? error.code : String(error)
  } finally {
    await database.close()
  }
}

/** docs/database.md "TLS". */
it('is what sslmode says; parameters of libpq alone are refused', async () => {
  const { url, ca } = await startWithTls()
  const codes = {
    '': '28000',
    'sslmode=require': 'connected',
    'sslmode=verify-full': 'DEPTH_ZERO_SELF_SIGNED_CERT',
    [`sslmode=require&sslrootcert=${ca}`]: '42704',
    'sslmode=require&channel_binding=require': '42704',
  }
  for (const [parameters, code] of Object.entries(codes)) {
    expect([parameters, await codeAt(`${url}?${parameters}`)]).toEqual([parameters, code])
  }
  const secrets = { MASTER_KEY: Buffer.alloc(32).toString('base64'), ADMIN_TOKEN: 'a'.repeat(32) }
  const environment = { ...secrets, DATABASE_URL: `${url}?sslmode=verify-full`, NODE_EXTRA_CA_CERTS: ca }
  const migration = runRelevo(['migrate'], environment)
  expect({ exitCode: await migration.ended(), output: migration.output() }).toMatchObject({ exitCode: 0 })
})
