import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { hitsIn } from '../support/known-values.ts'
import { bodyOf, entryOf, flowChange, messageChange, nfmReply, postEvents, tellTale } from '../support/meta-webhook.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { startProxy } from '../support/tcp-proxy.ts'

const url = 'http://127.0.0.1:9999/hook'
const events = ['whatsapp.flows.completed']

const counted = async (relevo: TestRelevo, account: TestAccount) => {
  const { body } = await relevo.api('GET', '/v1/conversations', { token: account.token })
  return body.data.map((one: { messageCount: number }) => one.messageCount)
}

describe('a database that is away', () => {
  it.each(['dead', 'stalled'] as const)('%s: 503, so that Meta comes again; then each is applied once', async (way) => {
    const database = await createTestDatabase()
    const proxy = await startProxy(database.url)
    const relevo = await startRelevo({}, { database: { url: proxy.url, drop: database.drop } })
    const account = await createAccount(relevo)
    const webhook = await createWebhook(relevo, account, url, { events })
    const bodies = Array.from({ length: 3 }, (_, index) =>
      bodyOf(entryOf(account.wabaId, messageChange(), nfmReply({ response: { flow_token: `token-${index}` } }))),
    )
    const send = async (body: object) => (await postEvents(relevo, body, account.appSecret)).status
    expect(await send(bodies[0] ?? {})).toBe(200)
    if (way === 'dead') await proxy.cut()
    else proxy.freeze()
    expect(await Promise.all(bodies.map(send))).toEqual([503, 503, 503])
    await proxy.restore()
    for (const body of bodies) await eventually(async () => (await send(body)) === 200, { timeoutMs: 20_000 })
    expect(await counted(relevo, account)).toEqual([6])
    const tale = tellTale({ ...relevo, database })
    const told = await tale.envelopes(webhook.id)
    expect(told.map(({ resourceId }) => resourceId).toSorted()).toEqual(['token-0', 'token-1', 'token-2'])
    await tale.close()
    await relevo.close()
    await proxy.close()
    await database.drop()
  })

  it('since the start: 503, and not 401', async () => {
    const database = await createTestDatabase()
    const proxy = await startProxy(database.url)
    await proxy.cut()
    const relevo = await startRelevo({}, { database: { url: proxy.url, drop: database.drop } })
    expect((await postEvents(relevo, bodyOf(), 'x')).status).toBe(503)
    expect((await postEvents(relevo, bodyOf(), 'x', { wabaId: '1' })).status).toBe(503)
    const query = 'hub.mode=subscribe&hub.verify_token=x&hub.challenge=1'
    expect((await fetch(`${relevo.url}/api/whatsapp/webhook/1?${query}`)).status).toBe(503)
    await relevo.close()
    await proxy.close()
    await database.drop()
  })
})

describe('a process that cannot write half of it', () => {
  it('writes nothing of it, and all once it can', async () => {
    const relevo = await startRelevo()
    const account = await createAccount(relevo)
    const webhook = await createWebhook(relevo, account, url, { events })
    const tale = tellTale(relevo)
    const body = bodyOf(entryOf(account.wabaId, messageChange(), nfmReply({ response: { flow_token: 'whole' } })))
    // The last that is written.
    await tale.sql`alter table deliveries add constraint broken check (event = 'nothing')`
    expect((await postEvents(relevo, body, account.appSecret)).status).toBe(503)
    expect(await tale.sql`select from clients`).toHaveLength(0)
    expect(await tale.sql`select from meta_events`).toHaveLength(0)
    await tale.sql`alter table deliveries drop constraint broken`
    await eventually(async () => (await postEvents(relevo, body, account.appSecret)).status === 200)
    expect(await counted(relevo, account)).toEqual([2])
    expect(await tale.envelopes(webhook.id)).toHaveLength(1)
    await tale.close()
    await relevo.close()
  })
})

describe('secrecy', () => {
  it('nothing of what Meta tells is in a log line, a metric or an answer', async () => {
    const random = (name: string) => `${name}-${randomBytes(12).toString('hex')}`
    const platformSecret = random('platform-secret')
    const verifyToken = random('platform-verify-token')
    const relevo = await startRelevo({
      META_APP_SECRETS: platformSecret,
      META_VERIFY_TOKEN: verifyToken,
      LOG_LEVEL: 'trace',
    })
    const ownVerifyToken = random('own-verify-token')
    const account = await createAccount(relevo, { verifyToken: ownVerifyToken })
    await createWebhook(relevo, account, url, { events })
    const from = `52155${randomBytes(4).readUInt32BE(0).toString().padStart(10, '0')}`.slice(0, 15)
    const known = {
      platformSecret,
      verifyToken,
      ownVerifyToken,
      appSecret: account.appSecret,
      from,
      name: random('name'),
      flowToken: random('flow-token'),
      answer: random('answer'),
      messageId: random('wamid'),
      contextId: random('wamid'),
      field: random('field'),
      notice: random('notice'),
    }
    const parts = { from, name: known.name, id: known.messageId, contextId: known.contextId }
    const changes = [
      nfmReply({ ...parts, response: { flow_token: known.flowToken, answer: known.answer } }),
      { field: known.field, value: { x: known.notice } },
      flowChange({ event: known.notice, flow_id: known.notice }),
      flowChange({ event: 'FLOW_STATUS_CHANGE', flow_id: known.notice, new_status: known.notice }),
    ]
    const body = bodyOf(entryOf(account.wabaId, ...changes), entryOf(known.notice, ...changes))
    const said: string[] = []
    const send = async (secret: string, options = {}) => {
      const answer = await postEvents(relevo, body, secret, options)
      said.push(answer.text, JSON.stringify([...answer.headers]))
      return answer.status
    }
    expect(await send(account.appSecret)).toBe(200)
    expect(await send('a-stranger')).toBe(401)
    expect(await send(platformSecret, { wabaId: account.wabaId })).toBe(401)
    const tale = tellTale(relevo)
    await tale.sql`alter table meta_events rename to not_there`
    expect(await send(account.appSecret)).toBe(503)
    await tale.close()
    const ask = (token: string) =>
      fetch(`${relevo.url}/api/whatsapp/webhook?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=1`)
    for (const token of [verifyToken, ownVerifyToken]) said.push(await (await ask(token)).text())
    const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}` }
    const metrics = await (await fetch(`${relevo.url}/metrics`, { headers })).text()
    expect(metrics).toMatch(/relevo_meta_events_total\{field="messages",result="applied"\} 1/)
    await relevo.close()
    const printed = [...relevo.logs.map((line) => JSON.stringify(line)), metrics, ...said].join('\n')
    expect(printed).toContain("Meta's events were not written")
    expect(hitsIn(printed, known)).toEqual([])
  })
})
