import { generateKeyPairSync, randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { routes } from '../../src/api/routes.ts'
import { hitsIn } from '../support/known-values.ts'
import { type ApiAnswer, createAccount, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const random = (name: string) => `${name}-${randomBytes(12).toString('hex')}`

const passphrase = random('passphrase')
const keyOptions = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
const privateKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(keyOptions).toString()

/** One for each member that takes a secret, by route and member. */
const secrets = {
  'POST wabas accessToken': random('access-token'),
  'POST wabas verifyToken': random('verify-token'),
  'PATCH wabas accessToken': random('other-access-token'),
  'PATCH wabas verifyToken': random('other-verify-token'),
  'POST app-secrets': random('app-secret'),
  'POST flow-keys privateKey': privateKey.split('\n')[3] ?? '',
  'POST flow-keys passphrase': passphrase,
  'POST webhooks secret': random('signing-secret'),
  'POST webhooks headers': random('header'),
  'PATCH webhooks headers': random('other-header'),
  'POST rotate-secret': random('rotated-secret'),
}

/** Writes every secret once by each way there is, then looks for them in all that Relevo shows, logs and stores. */
describe('secrets that were made, changed and rotated', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let account: TestAccount
  const ids: Record<string, string> = {}
  const answers: ApiAnswer[] = []

  const call = async (method: string, path: string, body?: unknown): Promise<ApiAnswer['body']> => {
    const answer = await relevo.api(method, path, { body, token: account.token })
    answers.push(answer)
    return answer.body
  }

  beforeAll(async () => {
    relevo = await startRelevo({ LOG_LEVEL: 'trace', DEADLINE_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ data: {} }))
    const tokens = { accessToken: secrets['POST wabas accessToken'], verifyToken: secrets['POST wabas verifyToken'] }
    account = await createAccount(relevo, tokens)
    const waba = `/v1/wabas/${account.wabaId}`
    await call('PATCH', waba, {
      accessToken: secrets['PATCH wabas accessToken'],
      verifyToken: secrets['PATCH wabas verifyToken'],
    })
    await call('POST', `${waba}/app-secrets`, { appSecret: secrets['POST app-secrets'] })
    await call('POST', `${waba}/flow-keys`, { privateKey, passphrase })
    const webhook = await relevo.api('POST', '/v1/webhooks', {
      body: {
        name: 'x',
        url: tenant.url,
        events: ['whatsapp.flows.exchanges'],
        secret: secrets['POST webhooks secret'],
        headers: { 'X-Own': secrets['POST webhooks headers'] },
      },
      token: account.token,
    })
    ids.webhooks = webhook.body.id
    await call('PATCH', `/v1/webhooks/${ids.webhooks}`, { headers: { 'X-Own': secrets['PATCH webhooks headers'] } })
    const rotated = { body: { secret: secrets['POST rotate-secret'] }, token: account.token }
    await relevo.api('POST', `/v1/webhooks/${ids.webhooks}/rotate-secret`, rotated)
    await call('POST', `/v1/webhooks/${ids.webhooks}/test`, {})
    await account.meta.init('t')
    ids.exchanges = (await relevo.exchanges(account, 1))[0].id
  })
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
  })

  it('are in use: the tenant was sent the new header and two signatures', () => {
    expect(tenant.received.at(-1)?.headers).toMatchObject({
      'x-own': secrets['PATCH webhooks headers'],
      'x-webhook-signature-previous': expect.any(String),
    })
  })

  it('are in no answer of any GET', async () => {
    const readable = routes.filter(({ method, scope }) => method === 'GET' && scope === 'read')
    expect(readable.length).toBeGreaterThan(15)
    for (const { path } of readable) {
      const resource = path.split('/')[2] ?? ''
      await call('GET', path.replace(':wabaId', account.wabaId).replace(':id', ids[resource] ?? 'none'))
    }
    for (const path of ['/v1/webhooks', `/v1/wabas/${account.wabaId}/flow-keys`]) {
      const operator = { workspaceId: account.workspaceId }
      answers.push(await relevo.api('GET', path, operator))
    }
    expect(hitsIn(JSON.stringify(answers), secrets)).toEqual([])
  })

  it('are in no error, given again in the wrong place', async () => {
    const before = answers.length
    const wrong = Object.values(secrets)
    for (const value of wrong) {
      await call('PATCH', `/v1/wabas/${account.wabaId}`, { accessToken: [value], verifyToken: { value }, name: 5 })
      await call('POST', `/v1/wabas/${account.wabaId}/app-secrets`, { appSecret: [value] })
      await call('POST', `/v1/wabas/${account.wabaId}/flow-keys`, { privateKey: value, passphrase: value })
      await call('PATCH', `/v1/webhooks/${ids.webhooks}`, { secret: value, headers: { host: value } })
      await call('POST', `/v1/webhooks/${ids.webhooks}/rotate-secret`, { secret: [value], graceSeconds: value })
    }
    const errors = answers.slice(before)
    expect(errors.map(({ status }) => status)).toEqual(errors.map(() => 400))
    expect(hitsIn(JSON.stringify(errors), secrets)).toEqual([])
  })

  it('are in no log line', () => {
    expect(relevo.logs.length).toBeGreaterThan(0)
    expect(hitsIn(JSON.stringify(relevo.logs), secrets)).toEqual([])
  })

  it('are in no table', async () => {
    const sql = postgres(relevo.database.url, { max: 1 })
    const tables = await sql`select table_name as name from information_schema.tables where table_schema = 'public'`
    const rows = await Promise.all(tables.map(({ name }) => sql`select t::text as row from ${sql(name)} t`))
    await sql.end()
    const stored = rows.flat().map(({ row }) => row)
    expect(stored.length).toBeGreaterThan(5)
    expect(hitsIn(stored.join('\n'), secrets)).toEqual([])
  })
})
