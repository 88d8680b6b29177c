import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import type { AppConfig } from '../../../src/app.ts'
import { readConfig } from '../../../src/config.ts'
import { ProcessPool } from '../../../src/processes/pool.ts'
import { createTestDatabase } from '../../support/database.ts'
import { eventually } from '../../support/eventually.ts'

const startMs = { timeoutMs: 50_000 }

/** Of two processes. */
function configOf(environment: Record<string, string>): AppConfig {
  const made = { MASTER_KEY: randomBytes(32).toString('base64'), ADMIN_TOKEN: randomBytes(24).toString('hex') }
  return readConfig({ ...made, PORT: '0', WORKERS: '2', ...environment }) as AppConfig
}

/** The processes of a pool in this one. */
async function children(): Promise<number[]> {
  const all = (await readFile(`/proc/self/task/${process.pid}/children`, 'utf8')).split(' ').filter(Boolean)
  const commands = await Promise.all(all.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
  return all.filter((_, index) => commands[index]?.includes('processes/child.ts')).map(Number)
}

afterEach(() => {
  delete process.env.TOO_LONG
})

/** Also heard here to have ended. */
function hasEnded(pid: number): boolean {
  try {
    return !process.kill(pid, 0)
  } catch {
    return true
  }
}

/** Linux takes no variable of more than 128 KiB: as with no memory left, nothing can be started. */
const startNoMore = () => {
  process.env.TOO_LONG = 'a'.repeat(200_000)
}

it('where the second process cannot be started, the end of the first is no failure of this one', async () => {
  // Nobody is there.
  const config = configOf({ DATABASE_URL: 'postgres://127.0.0.1:1/relevo', LOG_LEVEL: 'silent' })
  const { DATA_DIR } = config
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  // Read for the first one as it is started.
  const pool = new ProcessPool({
    ...config,
    get DATA_DIR() {
      startNoMore()
      return DATA_DIR
    },
  })
  await expect(pool.listen()).rejects.toMatchObject({ code: 'E2BIG' })
  const [first = 0, ...more] = await children()
  expect(more).toEqual([])
  process.kill(first, 'SIGKILL')
  await eventually(() => hasEnded(first))
  await pool.close()
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

it('a process that the system does not start is tried again, and ends none of the others', async () => {
  const database = await createTestDatabase()
  const dataDir = await mkdtemp(join(tmpdir(), 'relevo-pool-'))
  const config = configOf({ DATABASE_URL: database.url, DATA_DIR: dataDir, LOG_LEVEL: 'error' })
  const lines: Record<string, unknown>[] = []
  const pool = new ProcessPool(config, { logDestination: { write: (line) => void lines.push(JSON.parse(line)) } })
  const url = await pool.listen()
  const [first = 0] = await children()
  startNoMore()
  process.kill(first, 'SIGKILL')
  const refused = () => lines.filter(({ msg }) => msg === 'a process cannot be started')
  const [one, other] = await eventually(() => (refused().length < 2 ? null : refused()), startMs)
  expect(one).toMatchObject({ error: { code: 'E2BIG' } })
  expect(other?.pauseMs).toBe(2 * Number(one?.pauseMs))
  expect((await fetch(`${url}/livez`)).status).toBe(200)
  delete process.env.TOO_LONG
  await eventually(async () => (await children()).length === 2, startMs)
  await pool.close()
  await rm(dataDir, { recursive: true })
  await database.drop()
})
