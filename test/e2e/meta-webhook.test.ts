import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  bodyOf,
  entryOf,
  flowChange,
  messageChange,
  postEvents,
  type TellTale,
  tellTale,
} from '../support/meta-webhook.ts'
import { createAccount, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'

const vector = JSON.parse(readFileSync(new URL('../vectors/webhook-hmac-pywa.json', import.meta.url), 'utf8'))
const platformSecret = 'platform-app-secret-0123456789'
const verifyToken = 'what-meta-was-told'

let relevo: TestRelevo
let tale: TellTale

/** The phone numbers of an account's clients. */
async function clientsOf(account: TestAccount): Promise<string[]> {
  const { body } = await relevo.api('GET', '/v1/clients?limit=100', { token: account.token })
  return body.data.map((client: { phoneNumber: string }) => client.phoneNumber).toSorted()
}

async function verify(account: TestAccount): Promise<void> {
  const { workspaceId, wabaId } = account
  const answer = await relevo.api('PATCH', `/v1/wabas/${wabaId}`, { workspaceId, body: { verification: 'verified' } })
  expect(answer.status).toBe(200)
}

async function metric(name: string): Promise<number> {
  const response = await fetch(`${relevo.url}/metrics`, {
    headers: { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` },
  })
  const line = (await response.text()).split('\n').find((one) => one.startsWith(`${name} `))
  return Number(line?.split(' ').at(-1) ?? 0)
}

beforeAll(async () => {
  relevo = await startRelevo({ META_APP_SECRETS: `other,${platformSecret}`, META_VERIFY_TOKEN: verifyToken })
  tale = tellTale(relevo)
})
afterAll(async () => {
  await tale.close()
  await relevo.close()
})

describe('verification (protocol.md 5.1)', () => {
  const ask = (path: string, query: Record<string, string>) =>
    fetch(`${relevo.url}/api/whatsapp/webhook${path}?${new URLSearchParams(query)}`)
  const right = { 'hub.mode': 'subscribe', 'hub.verify_token': verifyToken, 'hub.challenge': '<b>1158201444</b>' }

  it('gives the bare challenge back as text that nothing takes for a page', async () => {
    const answer = await ask('', right)
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe('<b>1158201444</b>')
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  })

  it.each([
    ['another token', { ...right, 'hub.verify_token': 'what-meta-was-not-told' }],
    ['no token', { 'hub.mode': 'subscribe', 'hub.challenge': '1' }],
    ['another mode', { ...right, 'hub.mode': 'unsubscribe' }],
    ['no challenge', { 'hub.mode': 'subscribe', 'hub.verify_token': verifyToken }],
  ])('403 for %s', async (_name, query) => {
    const answer = await ask('', query)
    expect(answer.status).toBe(403)
    expect(await answer.text()).toBe('')
  })

  it('403 for a token given twice', async () => {
    const query = `hub.mode=subscribe&hub.verify_token=${verifyToken}&hub.verify_token=x&hub.challenge=1`
    expect((await fetch(`${relevo.url}/api/whatsapp/webhook?${query}`)).status).toBe(403)
  })

  it('of a WABA has its own token, changed and taken away', async () => {
    const account = await createAccount(relevo, { verifyToken: 'of-the-tenant' })
    const path = `/${account.wabaId}`
    expect((await ask(path, right)).status).toBe(403)
    expect((await ask('', { ...right, 'hub.verify_token': 'of-the-tenant' })).status).toBe(403)
    expect(await (await ask(path, { ...right, 'hub.verify_token': 'of-the-tenant' })).text()).toBe('<b>1158201444</b>')
    await relevo.api('PATCH', `/v1/wabas/${account.wabaId}`, { token: account.token, body: { verifyToken: 'new' } })
    expect((await ask(path, { ...right, 'hub.verify_token': 'new' })).status).toBe(200)
    await relevo.api('PATCH', `/v1/wabas/${account.wabaId}`, { token: account.token, body: { verifyToken: null } })
    expect((await ask(path, { ...right, 'hub.verify_token': 'new' })).status).toBe(403)
    expect((await ask('/1', right)).status).toBe(403)
  })

  it('without META_VERIFY_TOKEN is refused', async () => {
    const other = await startRelevo()
    const query = new URLSearchParams({ ...right, 'hub.verify_token': '' })
    expect((await fetch(`${other.url}/api/whatsapp/webhook?${query}`)).status).toBe(403)
    await other.close()
  })
})

describe('other methods', () => {
  it.each(['PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'])('%s: 405', async (method) => {
    for (const path of ['', '/123']) {
      const answer = await fetch(`${relevo.url}/api/whatsapp/webhook${path}`, { method })
      expect(answer.status).toBe(405)
      expect(answer.headers.get('allow')).toBe('GET, POST')
    }
  })
})

describe('whose signature covers what', () => {
  it('takes a real body of Meta, signed by a real app', async () => {
    const account = await createAccount(relevo, { wabaId: '264937493375603', appSecrets: [vector.app_secret] })
    const signature = vector['header_X-Hub-Signature-256']
    const answer = await postEvents(relevo, vector.raw_body_utf8, 'not used', { signature })
    expect(answer).toMatchObject({ status: 200, text: '' })
    expect(await clientsOf(account)).toEqual(['+972544401243'])
  })

  it('applies of two tenants’ entries the one that it covers', async () => {
    const [mine, other] = [await createAccount(relevo), await createAccount(relevo)]
    const dropped = await metric('relevo_meta_entries_dropped_total{reason="signature"}')
    const body = bodyOf(entryOf(mine.wabaId, messageChange()), entryOf(other.wabaId, messageChange()))
    expect((await postEvents(relevo, body, mine.appSecret)).status).toBe(200)
    expect(await clientsOf(mine)).toHaveLength(1)
    expect(await clientsOf(other)).toEqual([])
    expect(await metric('relevo_meta_entries_dropped_total{reason="signature"}')).toBe(dropped + 1)
    // The other tenant's app signs the same body: that applies theirs, and mine is not counted twice.
    expect((await postEvents(relevo, body, other.appSecret)).status).toBe(200)
    expect(await clientsOf(other)).toHaveLength(1)
  })

  it('the platform’s apps cover verified WABAs only', async () => {
    const [verified, unverified] = [await createAccount(relevo), await createAccount(relevo)]
    await verify(verified)
    const alone = bodyOf(entryOf(unverified.wabaId, messageChange()))
    expect((await postEvents(relevo, alone, platformSecret)).status).toBe(401)
    const both = bodyOf(entryOf(unverified.wabaId, messageChange()), entryOf(verified.wabaId, messageChange()))
    expect((await postEvents(relevo, both, platformSecret)).status).toBe(200)
    expect(await clientsOf(unverified)).toEqual([])
    expect(await clientsOf(verified)).toHaveLength(1)
    expect((await postEvents(relevo, alone, unverified.appSecret)).status).toBe(200)
    expect(await clientsOf(unverified)).toHaveLength(1)
    // Meta comes again: what was refused is applied once the operator has verified the WABA.
    const late = bodyOf(entryOf(unverified.wabaId, messageChange({ from: '5215550002222' })))
    expect((await postEvents(relevo, late, platformSecret)).status).toBe(401)
    await verify(unverified)
    expect((await postEvents(relevo, late, platformSecret)).status).toBe(200)
    expect(await clientsOf(unverified)).toHaveLength(2)
  })

  it('401 where no entry fits', async () => {
    const account = await createAccount(relevo)
    const body = bodyOf(entryOf(account.wabaId, messageChange()))
    const ways = [
      postEvents(relevo, body, 'a-stranger'),
      postEvents(relevo, body, account.appSecret, { signature: null }),
      postEvents(relevo, body, account.appSecret, { signature: 'sha256=00' }),
      postEvents(relevo, bodyOf(entryOf('1', messageChange())), platformSecret),
      postEvents(relevo, bodyOf(), account.appSecret),
      postEvents(relevo, 'not JSON', 'a-stranger'),
      postEvents(relevo, body, 'a-stranger', { wabaId: account.wabaId }),
      postEvents(relevo, body, account.appSecret, { wabaId: '1' }),
    ]
    for (const way of ways) expect((await way).status).toBe(401)
    expect(await clientsOf(account)).toEqual([])
  })

  it('tells of what strangers send 20 times in 10 s, and counts all', async () => {
    const account = await createAccount(relevo)
    const body = bodyOf(entryOf(account.wabaId, messageChange()))
    const dropped = () => metric('relevo_meta_entries_dropped_total{reason="signature"}')
    const lines = () => relevo.logs.filter(({ msg }) => msg === "a body of Meta's webhook was refused").length
    const [droppedBefore, linesBefore] = [await dropped(), lines()]
    for (let call = 0; call < 30; call++) expect((await postEvents(relevo, body, 'a-stranger')).status).toBe(401)
    expect((await dropped()) - droppedBefore).toBe(30)
    expect(lines() - linesBefore).toBeLessThanOrEqual(20)
  })

  it('400 for what is signed and cannot be read, 413 past 3 MB', async () => {
    // The event loop would stand still for it.
    const crowded = `{"entry":[],"x":[${'{},'.repeat(200_000)}{}]}`
    const account = await createAccount(relevo)
    const { wabaId, appSecret } = account
    for (const body of [
      'not JSON',
      '[]',
      '{}',
      '{"entry":{}}',
      `{"entry":${'['.repeat(300)}${']'.repeat(300)}}`,
      crowded,
    ]) {
      expect((await postEvents(relevo, body, platformSecret)).status).toBe(400)
      expect((await postEvents(relevo, body, appSecret, { wabaId })).status).toBe(400)
    }
    expect((await postEvents(relevo, Buffer.from([0xff, 0xfe]), platformSecret)).status).toBe(400)
    expect((await postEvents(relevo, Buffer.alloc(3 * 1024 * 1024 + 1, 32), appSecret)).status).toBe(413)
  })

  it('the route of a WABA takes entries of all WABAs whose secret the signature fits: an app has one address', async () => {
    const secret = 'one-app-for-two-wabas'
    const one = await createAccount(relevo, { appSecrets: [secret] })
    const two = await createAccount(relevo, { appSecrets: [secret] })
    const body = bodyOf(entryOf(one.wabaId, messageChange()), entryOf(two.wabaId, messageChange()))
    expect((await postEvents(relevo, body, secret, { wabaId: one.wabaId })).status).toBe(200)
    expect([await clientsOf(one), await clientsOf(two)]).toMatchObject([{ length: 1 }, { length: 1 }])
    const three = await createAccount(relevo, { appSecrets: ['another-app'] })
    const theirs = bodyOf(entryOf(three.wabaId, messageChange()))
    expect((await postEvents(relevo, theirs, secret, { wabaId: one.wabaId })).status).toBe(401)
    expect((await postEvents(relevo, theirs, 'another-app', { wabaId: one.wabaId })).status).toBe(200)
    expect(await clientsOf(three)).toHaveLength(1)
  })

  it('META_SIGNATURE=off takes all, verified or not', async () => {
    const open = await startRelevo({ META_SIGNATURE: 'off' })
    const account = await createAccount(open)
    const body = bodyOf(entryOf(account.wabaId, messageChange()))
    expect((await postEvents(open, body, '', { signature: null })).status).toBe(200)
    expect((await postEvents(open, 'not JSON', '', { signature: null })).status).toBe(400)
    const { body: clients } = await open.api('GET', '/v1/clients', { token: account.token })
    expect(clients.data).toHaveLength(1)
    await open.close()
  })
})

describe('what is not known', () => {
  it('is answered with 200 and a debug line without its content', async () => {
    const account = await createAccount(relevo)
    const unknown = [
      { field: 'account_update', value: { secret: 'content-of-it' } },
      { field: 'Content-Of-It 5215550001111', value: {} },
      flowChange({ event: 'FLOW_OF_TOMORROW', flow_id: '1', secret: 'content-of-it' }),
      flowChange({ event: 'FLOW_STATUS_CHANGE', new_status: 'PUBLISHED' }),
      { field: 'messages', value: { statuses: [{ id: 'wamid.x', status: 'read' }] } },
      { field: 'messages', value: { messages: 'content-of-it', contacts: 7 } },
    ]
    const body = bodyOf({}, { id: 5 }, entryOf(account.wabaId, ...unknown, { value: 1 }, 'no change' as never))
    const before = relevo.logs.length
    expect((await postEvents(relevo, body, account.appSecret)).status).toBe(200)
    const lines = relevo.logs.slice(before)
    const told = lines.filter(({ msg }) => msg === 'a change that Meta tells of is not known here')
    expect(told.map(({ level, field }) => [level, field])).toEqual([
      ['debug', 'account_update'],
      ['debug', null],
      ['debug', 'flows'],
      ['debug', 'flows'],
    ])
    expect(JSON.stringify(lines)).not.toMatch(/content-of-it/i)
  })
})

describe('strangers', () => {
  it('cannot have Relevo hash without end: past 32 MB no further secret is tried', async () => {
    const accounts = await Promise.all(Array.from({ length: 16 }, () => createAccount(relevo)))
    const padding = { field: 'padding', value: { text: 'x'.repeat(2_900_000) } }
    const entries = accounts.map(({ wabaId }) => entryOf(wabaId, messageChange()))
    const [first, last] = [accounts[0], accounts.at(-1)]
    const body = bodyOf(...entries, entryOf('1', padding))
    expect((await postEvents(relevo, body, first?.appSecret ?? '')).status).toBe(200)
    expect((await postEvents(relevo, body, last?.appSecret ?? '')).status).toBe(401)
    // Not past it: a small body may name as many.
    expect((await postEvents(relevo, bodyOf(...entries), last?.appSecret ?? '')).status).toBe(200)
  })
})
