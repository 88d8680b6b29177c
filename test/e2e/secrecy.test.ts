import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { hitsIn } from '../support/known-values.ts'
import type { SealedCall } from '../support/meta.ts'
import {
  type ApiAnswer,
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type Behaviour, type FakeTenant, startTenant } from '../support/tenant.ts'
import { hangUp, reply, reset, silence, text } from '../support/tenant-behaviours.ts'

const random = (name: string) => `${name}-${randomBytes(12).toString('hex')}`

const passphrase = random('passphrase')
const keyPair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const privateKey = keyPair.privateKey
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase })
  .toString()
const platformAppSecret = random('platform-app-secret')
const adminToken = random('admin-token-of-the-operator')
const masterKey = randomBytes(32)
const accessToken = random('access-token')
const headerValue = random('header-value')
const ownSecret = random('own-signing-secret')
const whsecKey = randomBytes(32)
const verySecretPath = random('url-secret')

/** What is about a person: it may stand where it belongs and nowhere else. */
const personal = {
  payload: random('payload-value'),
  replied: random('reply-value'),
  flowToken: random('flow-token'),
  phoneDigits: `52${1_000_000_000 + randomBytes(3).readUIntBE(0, 3)}`,
  name: random('client-name'),
}
const phoneNumber = `+${personal.phoneDigits}`

/**
 * One run with values that are known, through good and bad ends; then every log line, the metrics, every error of the API and
 * every header is searched for them, and every table.
 */
describe('what is secret', () => {
  let database: TestDatabase
  let relevo: TestRelevo
  let tenant: FakeTenant
  let told: FakeTenant
  let account: TestAccount
  let secrets: Record<string, string | Buffer>
  /** Bodies and headers of what Relevo answered to others than the tenant and Meta. */
  const said: string[] = []
  const printed: string[] = []
  const note = (answer: ApiAnswer) => {
    said.push(JSON.stringify(answer.body), JSON.stringify([...answer.headers]))
    return answer
  }

  beforeAll(async () => {
    for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const) {
      vi.spyOn(console, method).mockImplementation((...parts) => void printed.push(parts.join(' ')))
    }
    database = await createTestDatabase()
    const environment = {
      ADMIN_TOKEN: adminToken,
      MASTER_KEY: masterKey.toString('base64'),
      META_APP_SECRETS: platformAppSecret,
      DEADLINE_MS: '400',
      ENRICHMENT_BUDGET_MS: '5000',
      LOG_LEVEL: 'trace',
    }
    relevo = await startRelevo(environment, { database })
    ;[tenant, told] = await Promise.all([startTenant(), startTenant()])
    account = await createAccount(relevo, { accessToken, privateKey, passphrase })
    const { appSecret, token } = account
    const ofOperator = { adminToken, masterKey, platformAppSecret }
    const ofWaba = { appSecret, accessToken, passphrase, ...privateParts(privateKey) }
    secrets = { ...ofOperator, ...ofWaba, token, headerValue, ownSecret, whsecKey }
    await useEverything()
  })
  afterAll(async () => {
    vi.restoreAllMocks()
    tenant.assertNoSurprises()
    await Promise.all([tenant.close(), told.close()])
    await relevo.close()
    await database.drop()
  })

  async function useEverything(): Promise<void> {
    const { token, wabaId, meta } = account
    const { payload, replied, flowToken, name } = personal
    const headers = { Authorization: `Bearer ${headerValue}` }
    const webhook = { headers, secret: ownSecret, fallback: { mode: 'stay', errorMessage: 'Sorry' } }
    await createWebhook(relevo, account, `${tenant.url}/${verySecretPath}`, webhook)
    await createWebhook(relevo, account, tenant.url, { secret: `whsec_${whsecKey.toString('base64')}`, active: false })
    const events = ['whatsapp.flows.exchanges', 'whatsapp.flows.error', 'whatsapp.flows.fallback']
    told.always(text(`<${replied}`, 500))
    await createWebhook(relevo, account, `${told.url}/${verySecretPath}`, { ...webhook, events })
    await create(relevo, '/v1/flows', { wabaId, metaFlowId: '1' }, token)
    await create(relevo, '/v1/clients', { phoneNumber, name }, token)
    await create(relevo, '/v1/flow-responses', { flowToken, phoneNumber }, token)

    const good = {
      screen: 'NEXT',
      data: { replied, extension_message_response: { params: { flow_token: flowToken } } },
    }
    const behaviours: Behaviour[] = [
      ...[
        reply(good),
        reply({ data: { replied } }),
        reply({ error: replied }, 500),
        reply([replied]),
        text(`<${replied}`),
      ],
      ...[
        text(JSON.stringify({ error_msg: replied }), 427),
        reset(),
        hangUp(),
        silence(),
        text(`{"screen":"${replied}`),
      ],
      reply({ screen: 'SUCCESS', data: good.data }),
    ]
    for (const behaviour of behaviours) {
      tenant.next(behaviour)
      await meta.exchange('FORM', { payload }, flowToken)
    }
    await meta.call({ action: 'ping', flow_token: flowToken, data: { payload } })
    await meta.call({ action: payload, screen: 'FORM', flow_token: flowToken })
    await meta.call({ action: 'INIT', flow_token: flowToken, data: { error: payload, error_message: payload } })
    await meta.call(
      `{"action":"INIT","flow_token":"${flowToken}","data":{"p":"${payload}","d":${'['.repeat(300)}${']'.repeat(300)}}}`,
    )
    const repeated = meta.seal({ action: 'ping', data: { payload } })
    await meta.send(repeated)
    await meta.send(repeated)
    await relevo.exchanges(account, behaviours.length + 6)
    // Every exchange and the error are told, and each attempt fails and says so in the log.
    await eventually(async () => {
      const { body } = await relevo.api('GET', '/v1/deliveries?status=failed&limit=100', { token })
      return body.data.length > behaviours.length + 1
    })
    await beRefused(repeated)
  }

  /** Calls that are not served, with the values wherever a caller may put them. */
  async function beRefused(repeated: SealedCall): Promise<void> {
    const { payload, flowToken } = personal
    const { meta, endpointUri } = account
    const clear = JSON.stringify({ payload, flow_token: flowToken })
    const sealed = meta.seal({ action: 'INIT', flow_token: flowToken, data: { payload } })
    await meta.send({ ...sealed, signature: `sha256=${payload}` })
    await meta.send({ ...sealed, signature: null })
    const requests: [string, RequestInit][] = [
      [endpointUri, { method: 'POST', body: clear, headers: { 'x-hub-signature-256': payload } }],
      [endpointUri.replace(/data$/, `${flowToken}/${payload}/data`), { method: 'POST', body: clear }],
      [`${endpointUri}?flow_token=${flowToken}`, { method: 'GET' }],
      [endpointUri, { method: 'POST', body: payload.padEnd(1_100_000, payload) }],
      [`${relevo.url}/api/whatsapp/flows/999/data`, { method: 'POST', body: clear }],
      [`${relevo.url}/api/whatsapp/flows/%zz${flowToken}/data`, { method: 'POST', body: clear }],
      [`${relevo.url}/${flowToken}?phone=${encodeURIComponent(phoneNumber)}`, { method: 'GET' }],
      [`${relevo.url}/metrics`, { headers: { authorization: `Bearer ${account.token}` } }],
    ]
    for (const [url, init] of requests) {
      const response = await fetch(url, init)
      said.push(await response.text(), JSON.stringify([...response.headers]))
      expect(response.status).toBeGreaterThanOrEqual(400)
    }
    // Data of one call under the key of another.
    const [one, other] = [sealed, repeated].map(({ body }) => JSON.parse(body.toString()))
    await meta.send(
      signedWith({ ...sealed, body: JSON.stringify({ ...one, encrypted_flow_data: other.encrypted_flow_data }) }),
    )
    await meta.send(signedWith({ ...sealed, body: clear }))
  }

  const signedWith = (call: SealedCall): SealedCall => {
    const signature = `sha256=${createHmac('sha256', account.appSecret).update(call.body).digest('hex')}`
    return { ...call, signature }
  }

  const badCalls = (): [string, string, unknown?, string?][] => {
    const { flowToken, payload, name } = personal
    const { appSecret, wabaId, token } = account
    const events = ['whatsapp.flows.exchanges']
    const path = (host: string) => `${host}/${verySecretPath}`
    return [
      ['GET', '/v1/webhooks', undefined, `${token}x`],
      ['GET', '/v1/workspaces', undefined, token],
      ['GET', '/v1/webhooks', undefined, adminToken],
      ['POST', '/v1/wabas', { wabaId, appSecrets: [appSecret], accessToken, privateKey, passphrase }],
      ['POST', '/v1/wabas', { wabaId: '1', appSecrets: appSecret, accessToken: [accessToken], privateKey, passphrase }],
      ['POST', '/v1/wabas', { wabaId: '1', privateKey, passphrase: `${passphrase}x` }],
      ['POST', '/v1/wabas', { wabaId: '1', privateKey: privateKey.replace('MII', 'MIX'), passphrase }],
      ['POST', '/v1/wabas', { wabaId: '1', privateKey: privateKey.slice(0, 400) }],
      ['POST', '/v1/wabas', { wabaId: `1 ${accessToken}`, more: accessToken }],
      ['POST', '/v1/webhooks', { name, url: path('http://10.0.0.1'), events, secret: ownSecret }],
      ['POST', '/v1/webhooks', { name, url: `http://user:${ownSecret}@example.com/`, events }],
      ['POST', '/v1/webhooks', { name, url: path('ftp://example.com'), events, secret: { ownSecret } }],
      ['POST', '/v1/webhooks', { name, url: path('https://example.com'), events: [ownSecret], timeoutMs: ownSecret }],
      ['POST', '/v1/webhooks', { name, url: tenant.url, events, headers: { 'x-a': `${headerValue}\n` } }],
      ['POST', '/v1/webhooks', { name, url: tenant.url, events, headers: { 'content-type': headerValue } }],
      ['POST', '/v1/webhooks', { name, url: tenant.url, events, fallback: { mode: ownSecret } }],
      ['POST', '/v1/webhooks', { name, url: tenant.url, events, flowIds: [payload] }],
      ['POST', '/v1/clients', { phoneNumber: `${phoneNumber}x`, name: `${name}\0`, email: 7 }],
      ['POST', '/v1/clients', { phoneNumber: [phoneNumber], unknown: payload }],
      ['POST', '/v1/conversations', { clientId: name, owners: name }],
      ['POST', '/v1/flow-responses', { flowToken: `flows-builder-${flowToken}` }],
      ['POST', '/v1/flow-responses', { flowToken, phoneNumber, clientId: name }],
      ['POST', '/v1/flow-responses', { flowToken, sentAt: payload, flowId: payload }],
      ['GET', `/v1/flow-responses?flowToken=${flowToken}&limit=${payload}`],
      ['GET', `/v1/flow-responses/${flowToken}`],
      ['GET', `/v1/exchanges?outcome=${payload}&cursor=${flowToken}`],
      ['GET', `/v1/exchanges/${flowToken}?more=${payload}`],
      ['GET', `/v1/${flowToken}`],
      ['DELETE', `/v1/clients?phoneNumber=${encodeURIComponent(phoneNumber)}`],
      ['POST', '/v1/workspaces', { name: [adminToken] }, adminToken],
    ]
  }

  it('is found by this search in clear, hex and base64', () => {
    for (const [name, value] of Object.entries({ ...secrets, ...personal })) {
      const bytes = Buffer.from(value)
      const around = (offset: number) => Buffer.concat([Buffer.alloc(offset, 'x'), bytes, Buffer.from('xyz')])
      const base64s = [0, 1, 2].map((offset) => around(offset).toString('base64'))
      for (const text of [bytes.toString('latin1'), bytes.toString('hex'), bytes.toString('base64url'), ...base64s]) {
        expect(hitsIn(`before ${text} after`, { ...secrets, ...personal })).toContain(name)
      }
    }
  })

  it('is in no error of the API', async () => {
    for (const [method, path, body, token = account.token] of badCalls()) {
      const answer = note(await relevo.api(method, path, { body, token }))
      expect({ path, status: answer.status }).toEqual({ path, status: expect.any(Number) })
      expect(answer.status).toBeGreaterThanOrEqual(400)
      expect(answer.status).toBeLessThan(500)
    }
    const { flowToken, payload } = personal
    const raw: [string, string][] = [
      ['application/json', `{"flowToken":"${flowToken}","payload":${payload}}`],
      ['text/plain', payload],
      ['application/json', JSON.stringify({ flowToken: payload.padEnd(1_100_000, payload) })],
    ]
    for (const [contentType, body] of raw) {
      const headers = { authorization: `Bearer ${account.token}`, 'content-type': contentType }
      const response = await fetch(`${relevo.url}/v1/flow-responses`, { method: 'POST', headers, body })
      expect(response.status).toBeGreaterThanOrEqual(400)
      said.push(await response.text(), JSON.stringify([...response.headers]))
    }
    expect(said.filter((answer) => hitsIn(answer, { ...secrets, ...personal }).length > 0)).toEqual([])
  })

  it('comes back out of no resource', async () => {
    const shown: string[] = []
    const resources = [
      'wabas',
      `wabas/${account.wabaId}`,
      'webhooks',
      'flows',
      'exchanges',
      'flow-responses',
      'clients',
    ]
    for (const resource of resources) {
      const { status, body } = await relevo.api('GET', `/v1/${resource}`, { token: account.token })
      expect(status).toBe(200)
      shown.push(JSON.stringify(body))
    }
    for (const { id } of (await relevo.api('GET', '/v1/exchanges?limit=100', { token: account.token })).body.data) {
      shown.push(JSON.stringify((await relevo.api('GET', `/v1/exchanges/${id}`, { token: account.token })).body))
    }
    for (const { id } of (await relevo.api('GET', '/v1/deliveries?limit=100', { token: account.token })).body.data) {
      shown.push(JSON.stringify((await relevo.api('GET', `/v1/deliveries/${id}`, { token: account.token })).body))
    }
    const keys = await relevo.api('GET', `/v1/workspaces/${account.workspaceId}/api-keys`)
    shown.push(JSON.stringify(keys.body))
    expect(hitsIn(shown.join('\n'), secrets)).toEqual([])
  })

  it('is told to no webhook but its own', () => {
    const { headerValue: _sent, ...others } = secrets
    const heard = tenant.received.map(({ path, headers, rawBody }) => path + JSON.stringify(headers) + rawBody)
    expect(heard).toHaveLength(11)
    expect(hitsIn(heard.join('\n'), others)).toEqual([])
  })

  it('stands in no table in clear, and what is a person’s in its own columns only', async () => {
    const sql = postgres(database.url, { max: 1 })
    const tables = await sql`select table_schema as schema, table_name as name from information_schema.tables
      where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'
        and not exists (select from pg_inherits where inhrelid = format('%I.%I', table_schema, table_name)::regclass)`
    const places = Object.fromEntries(
      [...Object.keys(secrets), ...Object.keys(personal)].map((name) => [name, new Set()]),
    )
    for (const { schema, name: table } of tables) {
      for (const row of await sql`select * from ${sql(`${schema}.${table}`)}`) {
        for (const [column, value] of Object.entries(row)) {
          const cell = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))
          for (const name of hitsIn(cell.toString('latin1'), { ...secrets, ...personal })) {
            places[name]?.add(`${table}.${column}`)
          }
        }
      }
    }
    await sql.end()
    expect(tables.length).toBeGreaterThan(10)
    const found = Object.entries(places).flatMap(([name, columns]) =>
      [...columns].map((column) => `${name}: ${column}`),
    )
    expect(found.sort()).toEqual([
      'flowToken: deliveries.envelope',
      'flowToken: deliveries.resource_id',
      'flowToken: exchanges.answer',
      'flowToken: exchanges.envelope',
      'flowToken: exchanges.flow_token',
      'flowToken: flow_responses.flow_token',
      'name: clients.name',
      'name: deliveries.envelope',
      'name: exchanges.envelope',
      // The action that nobody knows.
      'payload: deliveries.envelope',
      'payload: exchanges.action',
      'payload: exchanges.envelope',
      'phoneDigits: clients.phone_number',
      'phoneDigits: deliveries.envelope',
      'phoneDigits: exchanges.envelope',
      'replied: attempts.response_body',
      'replied: exchanges.answer',
    ])
  })

  it('is in no log line, metric or answer, also once the database is broken', async () => {
    const { payload, flowToken } = personal
    await database.drop()
    tenant.next(reply({ screen: 'NEXT', data: {} }), reset())
    for (let call = 0; call < 2; call++) {
      expect((await account.meta.exchange('FORM', { payload }, flowToken)).status).toBe(200)
    }
    const badCallsThen: [string, object][] = [
      ['/v1/clients', { phoneNumber, name: personal.name }],
      ['/v1/flow-responses', { flowToken, phoneNumber }],
      ['/v1/wabas', { wabaId: '2', appSecrets: [account.appSecret], accessToken, privateKey, passphrase }],
    ]
    for (const [path, body] of badCallsThen) {
      expect(note(await relevo.api('POST', path, { body, token: account.token })).status).toBeGreaterThanOrEqual(500)
    }
    await eventually(() => relevo.logs.some(({ level, msg }) => level === 'error' && /\brows\b/.test(String(msg))))

    const authorization = `Bearer ${adminToken}`
    const metrics = await fetch(`${relevo.url}/metrics`, { headers: { authorization } })
    said.push(await metrics.text(), JSON.stringify([...metrics.headers]))
    expect(hitsIn(said.join('\n'), { ...secrets, ...personal })).toEqual([])

    const logged = relevo.logs.map((line) => JSON.stringify(line)).join('\n')
    const outcomes = new Set(relevo.logs.map(({ outcome }) => outcome))
    const expected = [
      'replied',
      'token_refused',
      'timeout',
      'connection_lost',
      'bad_status',
      'not_json',
      'invalid_reply',
    ]
    const local = ['answered_locally', 'unknown_action', 'repeated', 'internal_error']
    const refusals = ['unknown_waba', 'body_too_large', 'bad_signature', 'malformed', 'undecryptable']
    expect([...expected, ...local, ...refusals].filter((outcome) => !outcomes.has(outcome))).toEqual([])
    expect(hitsIn(logged, { ...secrets, ...personal, verySecretPath })).toEqual([])
    // All that Relevo has to say goes through its log.
    expect(printed).toEqual([])
  })

  it('leaves a database that is gone told from one that refuses', async () => {
    expect(await relevo.api('GET', '/v1/webhooks', { token: account.token })).toMatchObject({ status: 503 })
    expect(relevo.logs.filter(({ msg }) => String(msg).includes('lost'))).toEqual([])
  })
})

/** The parts of a private key that would give it away, as they stand in PEM, DER and JWK. */
function privateParts(pem: string): Record<string, string | Buffer> {
  const unlocked = createPrivateKey({ key: pem, passphrase })
  const { d = '', p = '', q = '' } = unlocked.export({ format: 'jwk' })
  const [, line = ''] = unlocked.export({ type: 'pkcs8', format: 'pem' }).toString().split('\n').slice(5)
  const [, sealedLine = ''] = pem.split('\n').slice(5)
  const part = (base64url: string) => Buffer.from(base64url, 'base64url')
  return { privateExponent: part(d), primeP: part(p), primeQ: part(q), pemLine: line, encryptedPemLine: sealedLine }
}
