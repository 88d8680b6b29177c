import { spawnSync } from 'node:child_process'
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { EmbeddedStartError, startEmbedded } from '../../src/storage/embedded.ts'
import { killFirstStart, spawnEmbedded } from '../support/embedded.ts'
import { describeDatabase, useEmbedded } from '../support/embedded-fixture.ts'

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn('not root: the tests of a start as root are skipped')

const nobody = { uid: 65_534, gid: 65_534 }
const readUs = `fs.readFileSync(${JSON.stringify(fileURLToPath(import.meta.url))})`
const nobodyReachesUs = isRoot && spawnSync(process.execPath, ['-e', readUs], { ...nobody, cwd: '/' }).status === 0
if (isRoot && !nobodyReachesUs) console.warn('a folder closed to others: the test as an ordinary user is skipped')

const fixture = useEmbedded()

/** What a start keeps only while it is at work. */
async function leftovers(): Promise<string[]> {
  return (await readdir(fixture.dataDir)).filter((name) => /init|lock/.test(name))
}

async function failureOf(dataDir: string): Promise<string> {
  const failure = await startEmbedded({ dataDir }).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(EmbeddedStartError)
  expect(String(failure)).not.toContain('\n')
  return String(failure)
}

describe('a first start', () => {
  it('makes a UTF8 cluster and the database, on 127.0.0.1 alone, and stops it', async () => {
    const server = await fixture.start()
    expect(server.adopted).toBe(false)
    expect(new URL(server.url).hostname).toBe('127.0.0.1')
    const expected = { database: 'relevo', encoding: 'UTF8', collate: 'C', sockets: '', connections: 100 }
    expect(await describeDatabase(server.url)).toMatchObject(expected)
    expect((await stat(join(fixture.dataDir, 'postgresql'))).mode & 0o777).toBe(0o700)
    expect((await stat(join(fixture.dataDir, 'database-password'))).mode & 0o777).toBe(0o600)
    await Promise.all([server.stop(), server.stop()])
    expect(await fixture.postmasterPid()).toBeUndefined()
    expect(await leftovers()).toEqual([])
  })

  it('bears odd characters in the path of DATA_DIR, in a setting and in the name of the database', async () => {
    await chmod(fixture.dataDir, 0o711)
    const dataDir = join(fixture.dataDir, `a 'b' (c) & é;#`)
    const serverSettings = { cluster_name: `it's "$HOME"` }
    const server = await fixture.start({ dataDir, serverSettings, database: 'a-b', processes: 64 })
    const described = await describeDatabase(server.url)
    expect(described).toMatchObject({ name: `it's "$HOME"`, database: 'a-b' })
    // As many as WORKERS can be, with 19 each.
    expect(described.connections).toBeGreaterThan(64 * 19)
    await server.stop()
  })

  it('made by several at once starts one server, which the others adopt', async () => {
    const { dataDir } = fixture
    const all = await Promise.all([spawnEmbedded(dataDir), spawnEmbedded(dataDir), fixture.start()])
    expect(all.map(({ adopted }) => adopted).sort()).toEqual([false, true, true])
    expect(new Set(all.map(({ url }) => url)).size).toBe(1)
    await Promise.all(all.map((one) => one.stop()))
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('goes on where one was killed in the middle of initdb', async () => {
    await killFirstStart(fixture.dataDir)
    expect(await leftovers()).not.toEqual([])
    const server = await fixture.start()
    expect(server.adopted).toBe(false)
    await server.stop()
    expect(await leftovers()).toEqual([])
  })
})

describe.skipIf(!isRoot)('as root', () => {
  it('the server runs under another uid, which passes DATA_DIR but cannot list it', async () => {
    await fixture.start()
    const { uid } = await stat(join(fixture.dataDir, 'postgresql'))
    expect(uid).not.toBe(0)
    expect((await stat(`/proc/${await fixture.postmasterPid()}`)).uid).toBe(uid)
    expect((await stat(fixture.dataDir)).mode & 0o777).toBe(0o711)
  })

  it('a parent folder that the server cannot pass is named', async () => {
    const closed = join(fixture.dataDir, 'closed')
    await mkdir(closed, { mode: 0o700 })
    await chmod(fixture.dataDir, 0o711)
    expect(await failureOf(join(closed, 'below'))).toContain(`the folder ${closed} cannot be passed by the user`)
  })

  it.skipIf(!nobodyReachesUs)('a cluster that an ordinary user made goes on under that user', async () => {
    const dataDir = join(fixture.dataDir, 'theirs')
    await chmod(fixture.dataDir, 0o777)
    const theirs = await spawnEmbedded(dataDir, nobody)
    expect(await describeDatabase(theirs.url)).toMatchObject({ database: 'relevo' })
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(dataDir, 'postgresql'))).uid).toBe(nobody.uid)
    await theirs.stop()
    const ours = await fixture.start({ dataDir })
    expect(ours.adopted).toBe(false)
    await ours.stop()
  })
})

describe('one line says what is wrong with', () => {
  it.each([
    ['a cluster of another major version', 'PG_VERSION', '17\n', /made by PostgreSQL 17, but this Relevo brings 18/],
    ['a folder that is no cluster', 'note.txt', 'mine', /postgresql is in the way: it is no PostgreSQL folder/],
    [
      'a cluster that PostgreSQL refuses',
      'PG_VERSION',
      '18\n',
      /PostgreSQL does not start in .*(pg_control|postgresql\.conf)/,
    ],
  ])('%s', async (_, file, text, message) => {
    await mkdir(join(fixture.dataDir, 'postgresql'))
    await writeFile(join(fixture.dataDir, 'postgresql', file), text)
    expect(await failureOf(fixture.dataDir)).toMatch(message)
  })

  it('DATA_DIR', async () => {
    const file = join(fixture.dataDir, 'file')
    await writeFile(file, '')
    expect(await failureOf(file)).toContain(`cannot use ${file} as DATA_DIR: EEXIST`)
  })
})
