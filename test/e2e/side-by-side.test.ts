import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { knownMigrations } from '../../src/storage/migrations.ts'
import { eventually } from '../support/eventually.ts'
import { endProcesses, runRelevo } from '../support/process.ts'
import { createAccount, createWebhook, startRelevo } from '../support/relevo.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const newest = `migrations/${knownMigrations().at(-1)?.name}.sql`

afterEach(endProcesses)

/** The commit before the newest migration came: the release that has to run beside this one while it is rolled out. Null: no history here. */
function commitBefore(path: string): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const [added = 'HEAD^0'] = git('log', '--diff-filter=A', '--format=%H^', '--', path)
      .split('\n')
      .filter((line) => line !== '')
    return git('rev-parse', '--verify', `${added}`)
  } catch {
    return null
  }
}

const before = existsSync(join(root, '.git')) ? commitBefore(newest) : null
if (before === null) console.warn(`no git history that knows ${newest}: the release before is not run beside this one`)

/** Its sources in a folder, on the packages of this one. */
async function checkOut(commit: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'relevo-before-'))
  const archive = execFileSync('git', ['archive', commit, 'src', 'migrations', 'package.json'], {
    cwd: root,
    maxBuffer: 100_000_000,
  })
  await mkdir(join(folder, 'data'))
  execFileSync('tar', ['-x', '-C', folder], { input: archive })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

it.skipIf(before === null)('the release before runs beside this one on the newer schema', async () => {
  const folder = await checkOut(before ?? '')
  expect(existsSync(join(folder, newest))).toBe(false)
  const tenant = await startTenant()
  tenant.always(reply({ screen: 'NEXT', data: {} }))
  const relevo = await startRelevo()
  const { DATABASE_URL, MASTER_KEY, ADMIN_TOKEN } = relevo.config
  const old = runRelevo(
    ['serve'],
    {
      ...{ DATABASE_URL, MASTER_KEY, ADMIN_TOKEN, PORT: '0', DATA_DIR: join(folder, 'data') },
      ...{ WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' },
    },
    folder,
  )
  const oldUrl = await old.listening()
  const account = await createAccount(relevo)
  const webhook = await createWebhook(relevo, account, tenant.url)
  const at = `${oldUrl}/api/whatsapp/flows/${account.wabaId}/data`

  // What this one took is in force there, and a conversation goes on wherever the balancer sends it.
  const answer = await eventually(
    async () => {
      const first = await account.meta.init('a token', { at })
      return first.status === 200 && first.answer.screen === 'NEXT' ? first : null
    },
    { timeoutMs: 15_000 },
  )
  expect(answer.answer).toEqual({ screen: 'NEXT', data: {} })
  for (const more of [{}, { at }, {}, { at }]) {
    expect((await account.meta.exchange('NEXT', { a: 1 }, 'a token', more)).answer).toEqual({
      screen: 'NEXT',
      data: {},
    })
  }
  const rows = await eventually(async () => {
    const { body } = await relevo.api('GET', '/v1/exchanges?outcome=replied&limit=100', { token: account.token })
    return body.data.length >= 5 ? body.data : null
  })
  expect(rows).toHaveLength(5)

  // And the other way: a change that the old one took.
  const changed = await fetch(`${oldUrl}/v1/webhooks/${webhook.id}`, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${account.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ active: false }),
  })
  expect(changed.status).toBe(200)
  await eventually(
    async () => (await account.meta.exchange('NEXT', {}, 'a token')).answer.data?.acknowledged === true,
    { timeoutMs: 15_000, everyMs: 200 },
  )

  old.child.kill('SIGTERM')
  expect(await old.ended()).toBe(0)
  expect(old.output()).not.toMatch(/"level":(50|60|"error"|"fatal")/)
  await relevo.close()
  await tenant.close()
  await rm(folder, { recursive: true, force: true })
})
