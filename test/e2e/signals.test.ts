import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, open, readdir, readFile, stat } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { claimPort } from '../../src/processes/free-port.ts'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { useEmbedded, usePlantedCluster } from '../support/embedded-fixture.ts'
import { eventually } from '../support/eventually.ts'
import { endProcesses, type RelevoProcess, runRelevo } from '../support/process.ts'

afterEach(endProcesses)

const startMs = { timeoutMs: 50_000, everyMs: 5 }
const answers = (url: URL) =>
  fetch(new URL('/livez', url)).then(
    () => true,
    () => false,
  )
const runs = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
const childrenOf = async ({ pid }: RelevoProcess) =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean).map(Number)
const isThere = (path: string) => stat(path).then(() => true)

describe('a signal during an embedded start', () => {
  const fixture = useEmbedded()
  const run = (command: string) => runRelevo([command], { DATA_DIR: fixture.dataDir, PORT: '0' })
  const moments = {
    'while its cluster is made': () =>
      eventually(
        async () => (await readdir(fixture.dataDir)).some((name) => name.startsWith('postgresql.init-')),
        startMs,
      ),
    'while its server starts': () =>
      eventually(() => isThere(join(fixture.dataDir, 'postgresql/postmaster.pid')), startMs),
    'while it migrates': (relevo: RelevoProcess) =>
      eventually(() => relevo.output().includes('embedded PostgreSQL started'), startMs),
  }

  it.each([
    ['SIGTERM', 'while its cluster is made'],
    ['SIGHUP', 'while its server starts'],
    ['SIGINT', 'while it migrates'],
  ] as const)('serve: %s %s is obeyed once the server can be stopped', async (signal, moment) => {
    if (moment !== 'while its cluster is made') await fixture.plant()
    const relevo = run('serve')
    await moments[moment](relevo)
    relevo.child.kill(signal)
    expect({ exitCode: await relevo.ended(), output: relevo.output() }).toMatchObject({ exitCode: 0 })
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('a command that had not begun says so', async () => {
    await fixture.plant()
    const relevo = run('migrate')
    await moments['while its server starts']()
    relevo.child.kill('SIGINT')
    expect(await relevo.ended()).toBe(1)
    expect(relevo.output()).toMatch(/^told to end before it began$/m)
    expect(await fixture.postmasterPid()).toBeUndefined()
  })
})

describe('more signals than one', () => {
  const fixture = useEmbedded()
  usePlantedCluster(fixture)

  it('a service of two processes finishes what is in flight, and stops its server', async () => {
    const relevo = runRelevo(['serve'], { DATA_DIR: fixture.dataDir, PORT: '0', WORKERS: '2' })
    const url = new URL(await relevo.listening())
    // As Ctrl-C does: to all.
    const all = [relevo.pid, ...(await childrenOf(relevo))]
    expect(all).toHaveLength(3)
    const token = (await readFile(join(fixture.dataDir, 'admin-token'), 'utf8')).trim()
    const call = connect(Number(url.port), url.hostname)
    let answer = ''
    // One that is cut has no answer: see below.
    call.on('error', () => undefined)
    call.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
    const head = [
      'POST /v1/workspaces HTTP/1.1',
      'Host: relevo',
      `Authorization: Bearer ${token}`,
      'Content-Length: 12',
    ]
    call.write(`${head.join('\r\n')}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\r\n`)
    await eventually(() => answer.includes(' 100 '))
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      for (const pid of all) if (runs(pid)) process.kill(pid, signal)
      await eventually(async () => !(await answers(url)))
    }
    call.write('{"name":"W"}')
    expect(await relevo.ended()).toBe(0)
    expect(answer).toContain(' 201 ')
    expect(await fixture.postmasterPid()).toBeUndefined()
  })
})

describe('a service of two processes that is told to end', () => {
  let database: TestDatabase
  beforeEach(async () => {
    database = await createTestDatabase()
  })
  afterEach(() => database.drop())
  const run = () => {
    const made = { MASTER_KEY: randomBytes(32).toString('base64'), ADMIN_TOKEN: randomBytes(24).toString('hex') }
    return runRelevo(['serve'], { ...made, DATABASE_URL: database.url, PORT: '0', WORKERS: '2' })
  }

  it('says which of them did not end well', async () => {
    const relevo = run()
    await relevo.listening()
    const [hanging = 0] = await childrenOf(relevo)
    process.kill(hanging, 'SIGSTOP')
    relevo.child.kill('SIGTERM')
    await eventually(async () => (await childrenOf(relevo)).length === 1)
    process.kill(hanging, 'SIGKILL')
    expect(await relevo.ended()).toBe(1)
    expect(relevo.output()).toMatch(/^not stopped in order: 1 process\(es\) did not end well$/m)
    const line = /^.*a process did not end well.*$/m.exec(relevo.output())?.[0] ?? '{}'
    expect(JSON.parse(line)).toMatchObject({ level: 'error', process: hanging, signal: 'SIGKILL' })
  })

  it('as Ctrl-C does in its first moments ends in order', async () => {
    const relevo = run()
    const children = await eventually(
      async () => {
        const found = await childrenOf(relevo)
        return found.length === 2 ? found : null
      },
      { ...startMs, everyMs: 1 },
    )
    // They do not heed signals yet.
    for (const pid of [relevo.pid, ...children]) process.kill(pid, 'SIGINT')
    expect({ exitCode: await relevo.ended(), output: relevo.output() }).toMatchObject({ exitCode: 0 })
    expect(relevo.output()).not.toMatch(/before it listened|did not end well/)
  })
})

describe('a reader that goes away, as head does,', () => {
  const fixture = useEmbedded()
  usePlantedCluster(fixture)
  const runUnread = (args: string[], more: Record<string, string> = {}) => {
    const relevo = runRelevo(args, { DATA_DIR: fixture.dataDir, ...more })
    relevo.child.stdout?.destroy()
    return relevo
  }

  it('ends no service: that goes on, and ends in order when it is told to', async () => {
    const PORT = String(await claimPort('127.0.0.1', 0))
    const relevo = runUnread(['serve'], { PORT })
    await eventually(() => answers(new URL(`http://127.0.0.1:${PORT}`)), startMs)
    relevo.child.kill('SIGTERM')
    expect(await relevo.ended()).toBe(0)
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('ends no command that has a server to stop', async () => {
    expect(await runUnread(['migrate']).ended()).toBe(0)
    expect(await fixture.postmasterPid()).toBeUndefined()
  })

  it('ends one that only prints, which is no error', async () => {
    const relevo = runUnread(['keys', 'generate'])
    expect(await relevo.ended()).toBe(0)
    expect(relevo.output()).toBe('')
  })
})

describe.skipIf(!existsSync('/dev/full'))('a full disk under stdout and stderr', () => {
  const fixture = useEmbedded()
  const runFull = async (args: string[], more: Record<string, string> = {}) => {
    const full = await open('/dev/full', 'w')
    const relevo = runRelevo(args, { DATA_DIR: fixture.dataDir, ...more }, undefined, full.fd)
    // Its own copy of the descriptor lives on.
    await full.close()
    return relevo
  }

  it('ends no service of two processes: it goes on, and ends in order', async () => {
    const PORT = String(await claimPort('127.0.0.1', 0))
    const database = await createTestDatabase()
    const settings = {
      DATABASE_URL: database.url,
      MASTER_KEY: randomBytes(32).toString('base64'),
      ADMIN_TOKEN: 'a'.repeat(32),
    }
    const relevo = await runFull(['serve'], { ...settings, PORT, WORKERS: '2', LOG_LEVEL: 'debug' })
    const url = new URL(`http://127.0.0.1:${PORT}`)
    await eventually(() => answers(url), startMs)
    // Each is a line of the log.
    const call = () => fetch(new URL('/api/whatsapp/flows/1/data', url), { method: 'POST', body: '{}' })
    for (let times = 0; times < 3; times++) expect((await call()).status).toBe(404)
    relevo.child.kill('SIGTERM')
    expect(await relevo.ended()).toBe(0)
    await database.drop()
  })

  it('ends no command that has a server to stop, but one that only prints: what it made is lost', async () => {
    await fixture.plant()
    expect(await (await runFull(['migrate'])).ended()).toBe(0)
    expect(await fixture.postmasterPid()).toBeUndefined()
    expect(await (await runFull(['keys', 'generate'])).ended()).not.toBe(0)
  })
})

describe('the demo', () => {
  let temporary = ''
  beforeEach(async () => {
    temporary = await freshDataDir()
    // As root PostgreSQL passes through it under another uid.
    await chmod(temporary, 0o711)
  })
  afterEach(() => removeEmbedded(temporary))

  const folder = async () => join(temporary, (await readdir(temporary))[0] ?? '')
  const hasServer = async () =>
    (await readFile(join(await folder(), 'postgresql/server.log'), 'utf8')).includes('ready to accept connections')

  it('interrupted while its Relevo starts leaves neither PostgreSQL nor folder, with a reader or without', async () => {
    const demo = runRelevo(['demo'], { TMPDIR: temporary })
    demo.child.stdout?.destroy()
    await eventually(hasServer, startMs)
    const postmaster = await livePostmaster(join(await folder(), 'postgresql'))
    demo.child.kill('SIGINT')
    expect(await demo.ended()).toBe(130)
    expect(await readdir(temporary)).toEqual([])
    // Ended, it lives on until process 1 has taken notice.
    await eventually(() => !runs(postmaster?.pid ?? 0))
  })
})
