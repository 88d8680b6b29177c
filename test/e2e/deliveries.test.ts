import { createHmac } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventSchemas } from '../../src/domain/event-schemas.ts'
import { eventually } from '../support/eventually.ts'
import {
  create,
  createAccount,
  createWebhook,
  startRelevo,
  type TestAccount,
  type TestRelevo,
} from '../support/relevo.ts'
import { type Behaviour, type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply, reset, silence } from '../support/tenant-behaviours.ts'

/** contract.md §4 "Asynchronous deliveries": one tenant answers exchanges, the other is told. */
let relevo: TestRelevo
let answering: FakeTenant
let told: FakeTenant
let sql: postgres.Sql

beforeAll(async () => {
  relevo = await startRelevo({ ENRICHMENT_BUDGET_MS: '5000' })
  sql = postgres(relevo.database.url, { max: 2 })
  ;[answering, told] = await Promise.all([startTenant(), startTenant()])
})
afterEach(async () => {
  // What still waits is not to be attempted in the middle of another test.
  for (const { account, id } of made.splice(0)) {
    await relevo.api('DELETE', `/v1/webhooks/${id}`, { token: account.token })
  }
  answering.always(null)
  told.always(null)
  answering.assertNoSurprises()
  told.assertNoSurprises()
})
afterAll(async () => {
  await Promise.all([answering.close(), told.close()])
  await sql.end()
  await relevo.close()
})

const deliveriesOf = async (account: TestAccount, query = '') =>
  (await relevo.api('GET', `/v1/deliveries${query}`, { token: account.token })).body.data
const deliveryOf = async (account: TestAccount, id: string) =>
  (await relevo.api('GET', `/v1/deliveries/${id}`, { token: account.token })).body
const webhookOf = async (account: TestAccount, id: string) =>
  (await relevo.api('GET', `/v1/webhooks/${id}`, { token: account.token })).body

/** The one delivery of an account once it is in a status. */
const only = (account: TestAccount, status: string) =>
  eventually(async () => {
    const [found, ...others] = await deliveriesOf(account)
    expect(others).toEqual([])
    return found?.status === status ? deliveryOf(account, found.id) : null
  })

/** Has the clock move for a delivery that waits: it is due now. */
async function makeDue(id: string): Promise<void> {
  await sql`update deliveries set due_at = now() where id = ${id}`
  await sql`update relevo_queue.job set start_after = now() where id = ${id}`
}

const made: { account: TestAccount; id: string }[] = []

async function accountWith(...webhooks: Record<string, unknown>[]) {
  const account = await createAccount(relevo)
  const responder = await createWebhook(relevo, account, answering.url, { name: 'Answers' })
  const others = []
  for (const webhook of webhooks) others.push(await createWebhook(relevo, account, told.url, webhook))
  for (const { id } of [responder, ...others]) made.push({ account, id })
  return { account, responder, others }
}

describe('an observer of an exchange', () => {
  it('gets the very envelope of the one who answers, signed for itself', async () => {
    const { account, responder, others } = await accountWith({})
    answering.next(reply({ screen: 'NEXT', data: {} }))
    told.next(reply({ ignored: true }))
    await account.meta.init('observed-token')
    const delivery = await only(account, 'delivered')
    const [asked, got] = [answering.received.at(-1), told.received.at(-1)]
    expect(got?.rawBody.toString()).toBe(asked?.rawBody.toString())
    const signature = createHmac('sha256', others[0].secret)
      .update(got?.rawBody ?? '')
      .digest('hex')
    expect(got?.headers).toMatchObject({
      'x-webhook-event': 'whatsapp.flows.init',
      'x-webhook-id': others[0].id,
      'x-webhook-event-id': asked?.headers['x-webhook-event-id'],
      'webhook-id': asked?.headers['webhook-id'],
      'x-webhook-resource-id': 'observed-token',
      'x-webhook-attempt': '1',
      'x-webhook-signature': `sha256=${signature}`,
    })
    // Nobody waits for its answer.
    expect(got?.headers).not.toHaveProperty('x-webhook-timeout-ms')
    expect(asked?.headers['x-webhook-id']).toBe(responder.id)
    expect(delivery).toMatchObject({
      webhookId: others[0].id,
      event: 'whatsapp.flows.init',
      eventId: asked?.headers['x-webhook-event-id'],
      resourceId: 'observed-token',
      attemptCount: 1,
      lastStatus: 200,
      lastFailure: null,
      nextAttemptAt: null,
      envelope: JSON.parse(got?.rawBody.toString() ?? ''),
      attempts: [{ number: 1, status: 200, failure: null, responseBody: '{"ignored":true}', bytes: 16 }],
    })
    expect(delivery.attempts[0].responseHeaders).toMatchObject({ 'content-type': 'application/json' })
    expect(await deliveriesOf(account, `?eventId=${delivery.eventId}`)).toHaveLength(1)
  })

  it('is told although the one who answers hangs, and neither waits for the other', async () => {
    const { account } = await accountWith({})
    answering.next(silence())
    told.next(reply({}))
    const { answer, ms } = await account.meta.init('hanging-token')
    expect(answer).toEqual({ data: { acknowledged: true } })
    expect(ms).toBeLessThan(3000)
    await only(account, 'delivered')
  })

  it('is attempted by the process that was asked; the alarm is for its death, and rings in vain while it lives', async () => {
    const { account } = await accountWith({})
    answering.always(reply({ data: {} }))
    told.next(silence(), reply({}))
    await account.meta.init('under-way')
    const isTold = (token: string) => told.received.some(({ headers }) => headers['x-webhook-resource-id'] === token)
    await eventually(() => isTold('under-way'))
    const [{ id }] = await deliveriesOf(account)
    const job = async () =>
      (await sql`select state, start_after > now() as waits from relevo_queue.job where id = ${id}`)[0]
    expect(await job()).toEqual({ state: 'created', waits: true })
    await makeDue(id)
    await eventually(async () => (await job())?.state === 'active')
    // Had it been attempted again, then before this one, and as a surprise.
    await account.meta.init('after-it')
    await eventually(() => isTold('after-it'))
  })

  it('in plain format gets what Meta sent', async () => {
    const { account } = await accountWith({ format: 'plain' })
    answering.next(reply({ data: {} }))
    told.next(reply({}))
    await account.meta.init('plain-token')
    const delivery = await only(account, 'delivered')
    expect(JSON.parse(told.received.at(-1)?.rawBody.toString() ?? '')).toMatchObject({
      action: 'INIT',
      flow_token: 'plain-token',
    })
    expect(delivery.envelope).toContain('"flow_token":"plain-token"')
  })
})

describe('a delivery that fails', () => {
  it('is tried again on the schedule with the same id and bytes, its attempts counted', async () => {
    const { account } = await accountWith({})
    answering.always(reply({ data: {} }))
    told.next(reply({ no: 1 }, 503), reset(), reply({}, 204))
    await account.meta.init('failing-token')
    const first = await only(account, 'failed')
    const waitMs = (delivery: { nextAttemptAt: string; attempts: { createdAt: string }[] }) =>
      Date.parse(delivery.nextAttemptAt) - Date.parse(delivery.attempts.at(-1)?.createdAt ?? '')
    expect(waitMs(first)).toBeGreaterThanOrEqual(4000)
    expect(waitMs(first)).toBeLessThan(8000)
    expect(first).toMatchObject({ attemptCount: 1, lastStatus: 503, lastFailure: 'bad_status', reason: null })
    expect(await deliveriesOf(account, '?status=never_delivered')).toHaveLength(1)

    await makeDue(first.id)
    const second = await eventually(async () => {
      const delivery = await deliveryOf(account, first.id)
      return delivery.attemptCount === 2 ? delivery : null
    })
    expect(second).toMatchObject({ status: 'failed', lastStatus: null, lastFailure: 'connection_lost' })
    expect(waitMs(second)).toBeGreaterThanOrEqual(24_000)

    await makeDue(first.id)
    const third = await only(account, 'delivered')
    expect(third.attempts.map(({ number, failure }: { number: number; failure: string }) => [number, failure])).toEqual(
      [
        [1, 'bad_status'],
        [2, 'connection_lost'],
        [3, null],
      ],
    )
    const sent = told.received.slice(-3)
    expect(sent.map(({ headers }) => headers['x-webhook-attempt'])).toEqual(['1', '2', '3'])
    expect(new Set(sent.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(sent.map(({ rawBody }) => rawBody.toString())).size).toBe(1)
    expect(await deliveriesOf(account, '?status=never_delivered')).toEqual([])
    expect((await webhookOf(account, third.webhookId)).failingSince).toBeNull()
  })

  it('waits as long as Retry-After says', async () => {
    const { account } = await accountWith({})
    answering.next(reply({ data: {} }))
    told.next(reply({}, 429, { 'retry-after': '100' }))
    await account.meta.init('retry-after-token')
    const { nextAttemptAt, updatedAt } = await only(account, 'failed')
    expect(Date.parse(nextAttemptAt) - Date.parse(updatedAt)).toBe(100_000)
  })

  it('does not follow a redirect, and takes a 2xx with any body', async () => {
    const { account } = await accountWith({})
    answering.always(reply({ data: {} }))
    told.next(
      reply({}, 302, { location: told.url }),
      ({ response }) => void response.writeHead(201).end('x'.repeat(5000)),
    )
    await account.meta.init('redirect-token')
    const { id } = await only(account, 'failed')
    await makeDue(id)
    const { attempts } = await only(account, 'delivered')
    expect(attempts[0]).toMatchObject({ status: 302, failure: 'bad_status' })
    expect(attempts[1]).toMatchObject({ status: 201, bytes: 5000, responseBody: 'x'.repeat(4096) })
  })

  it('after the last attempt is exhausted, kept, and can be redelivered', async () => {
    const { account } = await accountWith({})
    answering.next(reply({ data: {} }))
    told.next(reply({}, 500))
    await account.meta.init('last-token')
    const { id } = await only(account, 'failed')
    await sql`update deliveries set failures = 10, attempts = 10 where id = ${id}`
    told.next(reply({}, 500))
    await makeDue(id)
    expect(await only(account, 'exhausted')).toMatchObject({
      reason: 'schedule_ended',
      attemptCount: 11,
      nextAttemptAt: null,
    })
    told.next(reply({}))
    const again = await relevo.api('POST', `/v1/deliveries/${id}/redeliver`, { token: account.token })
    expect([again.status, again.body.status, again.body.reason]).toEqual([200, 'pending', null])
    expect(await only(account, 'delivered')).toMatchObject({ attemptCount: 12 })
    expect(told.received.at(-1)?.headers['x-webhook-attempt']).toBe('12')
  })
})

describe('a delivery that the tenant has attempted again while an attempt of it hangs', () => {
  /** An attempt after so many failures that answers once it is told a status, redelivered or recovered meanwhile. */
  async function redelivered(how: 'redeliver' | 'recover', failures: number) {
    const { account, others } = await accountWith({})
    const answer = Promise.withResolvers<number>()
    const hanging: Behaviour = async (call) => reply({}, await answer.promise)(call)
    answering.next(reply({ data: {} }))
    told.next(failures === 0 ? hanging : reply({}, 500))
    await account.meta.init(`${how}-${failures}`)
    const { id } = failures === 0 ? await only(account, 'pending') : await only(account, 'failed')
    if (failures > 0) {
      await sql`update deliveries set failures = ${failures}, attempts = ${failures} where id = ${id}`
      told.next(hanging)
      await makeDue(id)
    }
    const webhookId = others[0].id
    await eventually(() => {
      const { headers } = told.received.at(-1) ?? {}
      return headers?.['x-webhook-id'] === webhookId && headers?.['x-webhook-attempt'] === String(failures + 1)
    })
    const [path, body] =
      how === 'redeliver'
        ? [`/v1/deliveries/${id}/redeliver`]
        : [`/v1/webhooks/${webhookId}/recover`, { since: new Date(Date.now() - 60_000).toISOString() }]
    const again = await relevo.api('POST', path, { token: account.token, body })
    expect(again.status).toBe(200)
    // The process that makes the attempt has taken the new alarm.
    await eventually(async () => (await alarmOf(id))?.state === 'active')
    return { account, id, answer: answer.resolve }
  }

  const alarmOf = async (id: string) => (await sql`select state from relevo_queue.job where id = ${id}`)[0]

  it.each([
    ['redeliver', 0],
    ['redeliver', 10],
    ['recover', 10],
  ] as const)(
    '%s, after %i failures: is attempted at once when that fails, at the beginning of its schedule',
    async (how, failures) => {
      const { account, id, answer } = await redelivered(how, failures)
      told.next(reply({}, 500))
      answer(503)
      const delivery = await eventually(async () => {
        const found = await deliveryOf(account, id)
        return found.attemptCount === failures + 2 ? found : null
      })
      expect(delivery).toMatchObject({ status: 'failed', reason: null, lastStatus: 500 })
      const made = delivery.attempts.slice(-2).map(({ number, status }: Record<string, unknown>) => [number, status])
      expect(made).toEqual([
        [failures + 1, 503],
        [failures + 2, 500],
      ])
      expect(told.received.at(-1)?.headers['x-webhook-attempt']).toBe(String(failures + 2))
      expect(await sql`select failures from deliveries where id = ${id}`).toEqual([{ failures: 1 }])
      const waitMs = Date.parse(delivery.nextAttemptAt) - Date.parse(delivery.attempts.at(-1)?.createdAt)
      expect(waitMs).toBeLessThan(8000)
      expect(await alarmOf(id)).toEqual({ state: 'created' })
    },
  )

  it('is delivered when that succeeds', async () => {
    const { account, id, answer } = await redelivered('redeliver', 10)
    answer(200)
    expect(await only(account, 'delivered')).toMatchObject({ attemptCount: 11 })
    expect(await alarmOf(id)).toBeUndefined()
  })
})

describe('410', () => {
  it('stops the asynchronous deliveries of a webhook, not its exchanges, until it is told otherwise', async () => {
    const { account, responder, others } = await accountWith({})
    const observer = others[0].id
    answering.always(reply({ screen: 'NEXT', data: {} }))
    told.next(reply({}, 410))
    await account.meta.init('gone-token')
    expect(await only(account, 'exhausted')).toMatchObject({ reason: 'webhook_disabled', attemptCount: 1 })
    expect((await webhookOf(account, observer)).deliveriesDisabledAt).not.toBeNull()
    expect((await webhookOf(account, responder.id)).deliveriesDisabledAt).toBeNull()

    // What comes meanwhile is kept, and not sent.
    await account.meta.exchange('NEXT', {}, 'gone-token')
    const ended = await eventually(async () => {
      const all = await deliveriesOf(account, '?status=exhausted')
      return all.length === 2 ? all : null
    })
    expect(ended.map((delivery: { attemptCount: number }) => delivery.attemptCount)).toEqual([0, 1])
    const refused = await relevo.api('POST', `/v1/deliveries/${ended[0].id}/redeliver`, { token: account.token })
    expect([refused.status, refused.body.code]).toEqual([409, 'deliveries_disabled'])

    // As the one who answers it still is asked.
    await relevo.api('PATCH', `/v1/webhooks/${responder.id}`, { token: account.token, body: { active: false } })
    told.next(reply({ screen: 'FROM_OBSERVER', data: {} }))
    expect((await account.meta.exchange('NEXT', {}, 'gone-token')).answer.screen).toBe('FROM_OBSERVER')

    const body = { deliveriesDisabledAt: null }
    const enabled = await relevo.api('PATCH', `/v1/webhooks/${observer}`, { token: account.token, body })
    expect(enabled.body.deliveriesDisabledAt).toBeNull()
    told.next(reply({}), reply({}))
    const since = new Date(Date.now() - 60_000).toISOString()
    const recovered = await relevo.api('POST', `/v1/webhooks/${observer}/recover`, {
      token: account.token,
      body: { since },
    })
    expect(recovered.body).toEqual({ recovered: 2, isComplete: true })
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 2)
  })
})

describe('recover', () => {
  it('leaves alone what was delivered once, and failed when it was attempted again', async () => {
    const { account, others } = await accountWith({})
    answering.next(reply({ data: {} }))
    told.next(reply({}), reply({}, 500))
    await account.meta.init('delivered-before')
    const { id } = await only(account, 'delivered')
    await relevo.api('POST', `/v1/deliveries/${id}/redeliver`, { token: account.token })
    await only(account, 'failed')
    const body = { since: new Date(Date.now() - 60_000).toISOString() }
    const answer = await relevo.api('POST', `/v1/webhooks/${others[0].id}/recover`, { token: account.token, body })
    expect(answer.body).toEqual({ recovered: 0, isComplete: true })
  })
})

describe('a webhook that is removed while it is recovered', () => {
  it('is not found, as any that is gone', async () => {
    const account = await createAccount(relevo)
    const body = { since: new Date().toISOString() }
    const codes = new Set<string>()
    for (let round = 0; round < 8; round++) {
      const { id } = await createWebhook(relevo, account, told.url)
      const recover = async () => {
        const answer = await relevo.api('POST', `/v1/webhooks/${id}/recover`, { token: account.token, body })
        codes.add(answer.body.code ?? 'recovered')
      }
      const before = Array.from({ length: 8 }, recover)
      await Promise.all([...before, relevo.api('DELETE', `/v1/webhooks/${id}`, { token: account.token }), recover()])
      await recover()
    }
    expect([...codes].toSorted()).toEqual(['not_found', 'recovered'])
  })
})

describe('5 days of nothing but failures', () => {
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000)

  it('stop the deliveries, with a warning at 1 day', async () => {
    const { account, others } = await accountWith({})
    const { id } = others[0]
    answering.always(reply({ data: {} }))
    told.always(reply({}, 500))
    await account.meta.init('failing-1')
    await only(account, 'failed')
    const since = (await webhookOf(account, id)).failingSince
    expect(Date.now() - Date.parse(since)).toBeLessThan(60_000)
    const failingFor = async (days: number) => {
      await sql`update webhooks set failing_since = ${daysAgo(days)} where id = ${id}`
      // Webhooks are read anew after a change.
      await relevo.api('PATCH', `/v1/webhooks/${id}`, { token: account.token, body: { name: `For ${days} days` } })
    }
    const linesOf = (text: string) =>
      relevo.logs.filter((line) => line.webhookId === id && String(line.msg).includes(text))
    expect(linesOf('failed for a day')).toEqual([])

    await failingFor(1.1)
    await account.meta.init('failing-2')
    await eventually(() => linesOf('failed for a day').length === 1)
    expect((await webhookOf(account, id)).deliveriesDisabledAt).toBeNull()

    // Told once, also by a process that reads it anew.
    await failingFor(1.2)
    await account.meta.init('failing-2-again')
    await eventually(async () => (await deliveriesOf(account, '?status=failed')).length === 3)

    await failingFor(5.1)
    await account.meta.init('failing-3')
    await eventually(async () => (await webhookOf(account, id)).deliveriesDisabledAt !== null)
    expect(linesOf('deliveries were stopped')).toHaveLength(1)
    expect(linesOf('failed for a day')).toHaveLength(1)
  })

  it('stop them in all processes: a success that another makes at that time does not undo it', async () => {
    const { account, others } = await accountWith({})
    const { id } = others[0]
    answering.always(reply({ data: {} }))
    told.next(reply({}, 500))
    await account.meta.init('failing')
    await only(account, 'failed')
    const answer = Promise.withResolvers<void>()
    told.always(async (call) => {
      await answer.promise
      await reply({})(call)
    })
    const attempts = told.received.length
    await account.meta.init('under-way-when-stopped')
    await eventually(() => told.received.length > attempts)
    await sql`update webhooks set deliveries_disabled_at = now() where id = ${id}`
    answer.resolve()
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length > 0)
    const webhook = await webhookOf(account, id)
    expect(webhook.failingSince).toBeNull()
    expect(webhook.deliveriesDisabledAt).not.toBeNull()
  })

  it('hold up nobody while it cannot be told whether the webhook answered', async () => {
    // Of its own, as it then does not look for a minute.
    const own = await startRelevo()
    const ownSql = postgres(own.database.url, { max: 2 })
    const account = await createAccount(own)
    await createWebhook(own, account, answering.url, { name: 'Answers' })
    const failing = [await createWebhook(own, account, told.url), await createWebhook(own, account, told.url)]
    await createWebhook(own, account, new URL('/fine', told.url).href)
    const longAgo = daysAgo(5.1)
    await ownSql`update webhooks set failing_since = ${longAgo} where id in ${ownSql(failing.map(({ id }) => id))}`
    const linesOf = (pattern: RegExp) => own.logs.filter(({ msg }) => pattern.test(String(msg)))
    answering.always(reply({ data: {} }))
    told.always(async (call) => {
      if (call.received.path !== '/fine') return reply({}, 500)(call)
      await eventually(() => linesOf(/ is not (known|written) yet$/).length > 0, { timeoutMs: 20_000 })
      await reply({})(call)
    })
    const [locked, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const locking = ownSql.begin(async (tx) => {
      await tx`lock table exchange_stats in access exclusive mode`
      locked.resolve()
      await over.promise
    })
    await locked.promise
    await account.meta.init('held-up')
    const inStatus = async (status: string) =>
      (await own.api('GET', `/v1/deliveries?status=${status}`, { token: account.token })).body.data.length
    await eventually(async () => (await inStatus('delivered')) === 1, { timeoutMs: 20_000 }).finally(over.resolve)
    await locking
    await eventually(async () => (await inStatus('failed')) === 2)
    const rows = await ownSql`select id from webhooks where deliveries_disabled_at is not null`
    expect(rows).toHaveLength(0)
    // One look for both, however many fail.
    expect(linesOf(/ is not known yet$/)).toHaveLength(1)
    await ownSql.end()
    await own.close()
  })

  it('do not, where it answered an exchange meanwhile', async () => {
    const { account, responder } = await accountWith({})
    const members = { events: ['whatsapp.flows.exchanges', 'whatsapp.flows.error'] }
    await relevo.api('PATCH', `/v1/webhooks/${responder.id}`, { token: account.token, body: members })
    answering.next(reply({ data: {} }), reply({}, 500))
    told.always(reply({}))
    await account.meta.init('answered')
    await relevo.exchanges(account, 1)
    await sql`update webhooks set failing_since = ${daysAgo(5.1)} where id = ${responder.id}`
    await relevo.api('PATCH', `/v1/webhooks/${responder.id}`, { token: account.token, body: { name: 'Both' } })
    const sent = { version: '3.0', flow_token: 'answered', screen: 'A', action: 'data_exchange', data: { error: 'x' } }
    await account.meta.call(sent)
    await eventually(async () => (await deliveriesOf(account, '?status=failed')).length === 1)
    const webhook = await webhookOf(account, responder.id)
    expect(webhook.deliveriesDisabledAt).toBeNull()
    expect(Date.now() - Date.parse(webhook.failingSince)).toBeLessThan(60_000)
  })
})

describe('a process that is told to end', () => {
  it('gives back what it has not finished, for which no rows wait, and another makes the attempt at once', async () => {
    const own = await startRelevo({}, {})
    const account = await createAccount(own)
    await createWebhook(own, account, answering.url, { name: 'Answers' })
    await createWebhook(own, account, told.url, { name: 'Told' })
    answering.next(reply({ data: {} }))
    told.next(silence())
    await account.meta.init('given-back')
    await eventually(() => told.received.some(({ headers }) => headers['x-webhook-resource-id'] === 'given-back'))
    const before = told.received.length
    const untold = await createAccount(own)
    await createWebhook(own, untold, answering.url)
    const ownSql = postgres(own.database.url, { max: 1 })
    let stopped: Promise<void> | undefined
    await ownSql.begin(async (tx) => {
      await tx`lock table exchanges in share mode`
      answering.next(reply({ data: {} }))
      await untold.meta.init('spooled')
      stopped = own.stop()
      const isSaid = () => own.logs.some(({ msg }) => msg === 'rows stay in the spool for the next process')
      // The attempt that hangs is given 5 s.
      await eventually(isSaid, { timeoutMs: 4000 })
    })
    await stopped
    await ownSql.end()
    told.next(reply({}))
    const { MASTER_KEY, ADMIN_TOKEN } = own.config
    const next = await startRelevo({ MASTER_KEY, ADMIN_TOKEN }, { database: own.database })
    await eventually(() => told.received.length === before + 1, { timeoutMs: 10_000 })
    // It was interrupted, and so was no attempt.
    expect(told.received.at(-1)?.headers['x-webhook-attempt']).toBe('1')
    await next.close()
    await own.database.drop()
  })
})

describe('a webhook that is gone or inactive', () => {
  it('ends what waits for it', async () => {
    const { account, others } = await accountWith({}, {})
    answering.next(reply({ data: {} }))
    told.next(reply({}, 500), reply({}, 500))
    await account.meta.init('removed-token')
    const failed = await eventually(async () => {
      const all = await deliveriesOf(account, '?status=failed')
      return all.length === 2 ? all : null
    })
    await relevo.api('DELETE', `/v1/webhooks/${others[0].id}`, { token: account.token })
    await relevo.api('PATCH', `/v1/webhooks/${others[1].id}`, { token: account.token, body: { active: false } })
    for (const { id } of failed) await makeDue(id)
    const ended = await eventually(async () => {
      const all = await deliveriesOf(account, '?status=exhausted')
      return all.length === 2 ? all : null
    })
    expect(new Set(ended.map(({ reason }: { reason: string }) => reason))).toEqual(
      new Set(['webhook_deleted', 'webhook_inactive']),
    )
    const gone = ended.find(({ reason }: { reason: string }) => reason === 'webhook_deleted')
    const again = await relevo.api('POST', `/v1/deliveries/${gone.id}/redeliver`, { token: account.token })
    expect([again.status, again.body.code]).toEqual([409, 'webhook_gone'])

    const left = ended.find(({ reason }: { reason: string }) => reason === 'webhook_inactive')
    const since = { since: '2026-01-01T00:00:00Z' }
    for (const [path, body] of [
      [`/v1/deliveries/${left.id}/redeliver`, {}],
      [`/v1/webhooks/${others[1].id}/recover`, since],
    ] as const) {
      const refused = await relevo.api('POST', path, { token: account.token, body })
      expect([refused.status, refused.body.code], path).toEqual([409, 'webhook_inactive'])
    }
    expect((await relevo.api('GET', `/v1/deliveries/${left.id}`, { token: account.token })).body).toMatchObject(left)
    await relevo.api('PATCH', `/v1/webhooks/${others[1].id}`, { token: account.token, body: { active: true } })
    told.next(reply({}))
    const recovered = await relevo.api('POST', `/v1/webhooks/${others[1].id}/recover`, {
      token: account.token,
      body: since,
    })
    expect(recovered.body).toEqual({ recovered: 1, isComplete: true })
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 1)
  })
})

describe('whatsapp.flows.fallback', () => {
  it('tells at once of a fallback, and once a second of how many came since', async () => {
    const { account } = await accountWith({ events: ['whatsapp.flows.fallback'] })
    const flow = await create(
      relevo,
      '/v1/flows',
      { wabaId: account.wabaId, metaFlowId: '77', name: 'Offer' },
      account.token,
    )
    answering.always(reply({}, 500))
    told.always(reply({}))
    await Promise.all(['a', 'b', 'c', 'd'].map((token) => account.meta.init(`fallback-${token}`)))
    const seen = () =>
      told.received
        .map(({ rawBody }) => JSON.parse(rawBody.toString()))
        .filter((envelope) => envelope.workspaceId === account.workspaceId)
    await eventually(() => seen().reduce((total, { data }) => total + data.count, 0) === 4)
    expect(seen().map(({ data }) => data.count)).toEqual([1, 3])
    const [first] = seen()
    expect(eventSchemas['whatsapp.flows.fallback'].parse(first)).toBeTruthy()
    const exchanges = await relevo.exchanges(account, 4)
    const told1 = exchanges.find(({ id }: { id: string }) => id === first.data.exchange.id)
    expect(first).toMatchObject({
      event: 'whatsapp.flows.fallback',
      source: 'whatsapp.flows',
      resourceType: 'flow_response',
      resourceId: told1.flowToken,
      changes: null,
      data: {
        client: null,
        conversation: null,
        flow: { id: flow.id },
        flowResponse: { flowToken: told1.flowToken, status: 'IN_PROGRESS' },
        exchange: { outcome: 'bad_status', event: 'whatsapp.flows.init', durationMs: told1.durationMs },
      },
    })
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 2)
  })
})

describe('whatsapp.flows.error', () => {
  it('tells what the phone reported, and a plain webhook what Meta sent', async () => {
    const { account } = await accountWith(
      { events: ['whatsapp.flows.error'] },
      { events: ['whatsapp.flows.error'], format: 'plain' },
    )
    const client = await create(relevo, '/v1/clients', { phoneNumber: '+15550109999', name: 'Ana' }, account.token)
    await create(relevo, '/v1/flow-responses', { flowToken: 'error-token', clientId: client.id }, account.token)
    told.next(reply({}), reply({}))
    const report = { error: 'payload-schema-error', error_message: 'wrong' }
    const sent = { version: '3.0', flow_token: 'error-token', screen: 'OFFER', action: 'data_exchange', data: report }
    expect((await account.meta.call(sent)).answer).toEqual({ data: { acknowledged: true } })
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 2)
    const bodies = told.received.slice(-2).map(({ rawBody }) => JSON.parse(rawBody.toString()))
    const envelope = bodies.find((body) => body.event !== undefined)
    expect(bodies.find((body) => body.event === undefined)).toEqual(sent)
    expect(eventSchemas['whatsapp.flows.error'].parse(envelope)).toBeTruthy()
    expect(envelope.data).toMatchObject({
      client: { id: client.id, name: 'Ana' },
      flowResponse: { flowToken: 'error-token', status: 'SENT' },
      error: { key: report.error, message: 'wrong', action: 'data_exchange', screen: 'OFFER', version: '3.0' },
    })
    const [exchange] = await relevo.exchanges(account, 1)
    expect(exchange).toMatchObject({ outcome: 'answered_locally', event: 'whatsapp.flows.error', clientId: client.id })
  })

  it('tells of a token past its time that it expired, whether or not a sweep has come by', async () => {
    const { account } = await accountWith({ events: ['whatsapp.flows.error'] })
    await create(relevo, '/v1/flow-responses', { flowToken: 'late-error' }, account.token)
    await sql`update flow_responses set expires_at = now() - interval '1 second'
      where workspace_id = ${account.workspaceId} and flow_token = 'late-error'`
    told.next(reply({}))
    const sent = {
      version: '3.0',
      flow_token: 'late-error',
      screen: 'A',
      action: 'data_exchange',
      data: { error: 'x' },
    }
    await account.meta.call(sent)
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 1)
    const { data } = JSON.parse(told.received.at(-1)?.rawBody.toString() ?? '')
    expect(data.flowResponse).toMatchObject({ flowToken: 'late-error', status: 'EXPIRED' })
  })

  it.each(['a\0', '\ud800'])('finds the records of one whose action no text column takes (%j)', async (action) => {
    const { account } = await accountWith({ events: ['whatsapp.flows.error'] })
    const client = await create(relevo, '/v1/clients', { phoneNumber: '+15550109998', name: 'Bo' }, account.token)
    await create(relevo, '/v1/flow-responses', { flowToken: 'odd-action', clientId: client.id }, account.token)
    told.next(reply({}))
    const sent = { version: '3.0', flow_token: 'odd-action', screen: 'OFFER', action, data: { error: 'x' } }
    expect((await account.meta.call(sent)).answer).toEqual({ data: { acknowledged: true } })
    await eventually(async () => (await deliveriesOf(account, '?status=delivered')).length === 1)
    const [exchange] = await relevo.exchanges(account, 1)
    expect(exchange).toMatchObject({ outcome: 'answered_locally', clientId: client.id })
  })
})
