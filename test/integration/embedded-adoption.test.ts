import { execFileSync, spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { describe, expect, it } from 'vitest'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { killServer, spawnEmbedded } from '../support/embedded.ts'
import { describeDatabase, useEmbedded, usePlantedCluster } from '../support/embedded-fixture.ts'

const fixture = useEmbedded()
usePlantedCluster(fixture)

describe('a server that runs already', () => {
  it('is adopted, left to the other by the first that stops, and stopped by the last', async () => {
    const first = await fixture.start()
    const second = await spawnEmbedded(fixture.dataDir)
    expect([second.adopted, second.url]).toEqual([true, first.url])
    await first.stop()
    expect(await describeDatabase(second.url)).toMatchObject({ database: 'relevo' })
    await second.stop()
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('is adopted after its starter was killed with its whole process group', async () => {
    const killed = await spawnEmbedded(fixture.dataDir)
    const pid = await fixture.postmasterPid()
    await killed.killGroup('SIGKILL')
    const server = await fixture.start()
    expect([server.adopted, server.url, await fixture.postmasterPid()]).toEqual([true, killed.url, pid])
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('survives %s to the process group of its starter', async (signal) => {
    const killed = await spawnEmbedded(fixture.dataDir)
    const session = postgres(killed.url, { max: 1 })
    await session`select 1`
    await killed.killGroup(signal)
    // Both the session that was open and a new one: a process that drains needs them.
    expect(await session`select 1 as alive`).toEqual([{ alive: 1 }])
    expect(await describeDatabase(killed.url)).toMatchObject({ database: 'relevo' })
    await session.end()
  })

  it('is left running by stop() while a session of someone else is open', async () => {
    const server = await fixture.start()
    const other = postgres(server.url, { max: 1 })
    await other`select 1`
    await server.stop()
    expect(await other`select 1 as alive`).toEqual([{ alive: 1 }])
    await other.end()
    expect((await fixture.start()).adopted).toBe(true)
  })

  it('is stopped although sessions of our own were closed only a moment ago', async () => {
    const server = await fixture.start()
    const own = postgres(server.url, { max: 8 })
    await Promise.all(Array.from({ length: 8 }, () => own`select pg_sleep(0.01)`))
    await Promise.all([own.end(), server.stop()])
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('is stopped although its folder takes no lock, as on a full disk; a start says where', async () => {
    const server = await fixture.start()
    const lockFile = join(fixture.dataDir, 'embedded.lock')
    // What cannot be read as a lock fails like one that cannot be written.
    await mkdir(lockFile)
    await server.stop()
    expect(await fixture.postmasterPid()).toBeUndefined()
    await expect(fixture.start()).rejects.toThrow(`cannot make ${lockFile}: EISDIR`)
    await rmdir(lockFile)
  })

  it('is started anew by a start that comes while it stops', async () => {
    const first = await fixture.start()
    const [, second] = await Promise.all([first.stop(), fixture.start()])
    expect(await describeDatabase(second.url)).toMatchObject({ database: 'relevo' })
  })

  it('is not adopted without its password', async () => {
    await fixture.start()
    const file = join(fixture.dataDir, 'database-password')
    await writeFile(file, 'short')
    await expect(startEmbedded(fixture)).rejects.toThrow(`${file} does not hold the password that Relevo made`)
    await rm(file)
    await expect(startEmbedded(fixture)).rejects.toThrow(/takes no session of ours: password authentication failed/)
  })
})

describe('after everything was killed', () => {
  it('starts again, also when the pid of the server is by now that of another process of its user', async () => {
    const killed = await spawnEmbedded(fixture.dataDir)
    await killed.killGroup('SIGKILL')
    await killServer(fixture.dataDir, 'SIGKILL')
    const pidFile = join(fixture.dataDir, 'postgresql', 'postmaster.pid')
    const { uid, gid } = await stat(pidFile)
    const unrelated = spawn('/bin/sh', ['-c', 'read line'], { uid, gid, cwd: '/' })
    await writeFile(pidFile, (await readFile(pidFile, 'utf8')).replace(/^\d+/, String(unrelated.pid)))
    try {
      const server = await fixture.start()
      expect(server.adopted).toBe(false)
      expect(await describeDatabase(server.url)).toMatchObject({ database: 'relevo' })
    } finally {
      unrelated.kill()
    }
  })
})

describe.skipIf(process.platform !== 'linux')('what others on the machine can see', () => {
  it('is neither our variables nor the password', async () => {
    const env = { MASTER_KEY: 'marker-in-our-environment', ADMIN_TOKEN: 'marker-in-our-environment' }
    const starter = await spawnEmbedded(fixture.dataDir, { env })
    const { password } = new URL(starter.url)
    expect(password.length).toBeGreaterThan(32)
    // As the server's own user: root in a container may not be allowed to.
    const { uid, gid } = await stat(join(fixture.dataDir, 'postgresql'))
    const environment = execFileSync('cat', [`/proc/${await fixture.postmasterPid()}/environ`], { uid, gid }).toString()
    expect(environment).toContain('LANG=C')
    expect(environment).not.toMatch(/marker|MASTER_KEY|ADMIN_TOKEN/)
    expect(environment.includes(password)).toBe(false)
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      expect(commandLine.includes(password)).toBe(false)
    }
    const log = await readFile(join(fixture.dataDir, 'postgresql', 'server.log'), 'utf8')
    expect(log.includes(password)).toBe(false)
    await starter.stop()
  })

  it('is, in the log of the server, nothing of what failed statements held', async () => {
    const server = await fixture.start()
    const sql = postgres(server.url, { max: 1, onnotice: () => undefined })
    await sql`create table probe (value text unique)`
    await sql`insert into probe values ('marker-in-a-row')`
    await expect(sql`insert into probe values ('marker-in-a-row')`).rejects.toThrow(/duplicate/)
    await expect(sql`select 'marker-in-a-row'::uuid`).rejects.toThrow(/invalid input/)
    await sql.end()
    await server.stop()
    expect(await readFile(join(fixture.dataDir, 'postgresql', 'server.log'), 'utf8')).not.toContain('marker')
  })
})
