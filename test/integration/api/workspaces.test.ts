import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { insertAttempt, insertDelivery } from '../../support/log-rows.ts'
import { type ApiAnswer, adminToken, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { insertExchange, makeRecords } from './samples.ts'

let api: TestApi
let workspace: TestWorkspace

beforeAll(async () => {
  api = await startApi()
  workspace = await api.makeWorkspace()
})
afterAll(() => api.close())

const asOperator = (method: string, path: string, body?: unknown): Promise<ApiAnswer> =>
  api.call(method, path, { token: adminToken, body })

test('PATCH renames a workspace', async () => {
  const before = (await asOperator('GET', `/v1/workspaces/${workspace.id}`)).body
  const changed = await asOperator('PATCH', `/v1/workspaces/${workspace.id}`, { name: 'Renamed' })
  expect(changed.status).toBe(200)
  expect(changed.body).toEqual({ ...before, name: 'Renamed', updatedAt: changed.body.updatedAt })
  expect(changed.body.updatedAt >= before.updatedAt).toBe(true)
  expect((await asOperator('PATCH', `/v1/workspaces/${workspace.id}`, {})).body.name).toBe('Renamed')
  expect((await asOperator('PATCH', `/v1/workspaces/${workspace.id}`, { name: null })).status).toBe(400)
  expect((await asOperator('PATCH', `/v1/workspaces/${newId('workspace')}`, { name: 'x' })).status).toBe(404)
})

describe('DELETE', () => {
  /** How many rows of each table are a workspace's. */
  async function rowsOf(workspaceId: string): Promise<Record<string, number>> {
    const { sql } = api.database
    const tables = await sql`
      select table_name as name, column_name as id from information_schema.columns where table_schema = 'public'
        and (column_name = 'workspace_id' or (table_name = 'workspaces' and column_name = 'id'))
        and not (select relispartition from pg_class where oid = table_name::regclass)`
    const counts = tables.map(async ({ name, id }) => {
      const [row] = await sql`select count(*)::int as count from ${sql(name)} where ${sql(id)} = ${workspaceId}`
      return [name, row?.count] as const
    })
    return Object.fromEntries(await Promise.all(counts))
  }

  test('removes all that is of the workspace, whatever the table; the audit log stays', async () => {
    const doomed = await api.makeWorkspace()
    const records = await makeRecords(api, doomed)
    await insertExchange(api, doomed, { wabaId: records.wabaId })
    await doomed.make(`/v1/wabas/${records.wabaId}/app-secrets`, { appSecret: 'x' })
    const { sql } = api.database
    await sql`insert into audit_log values (${doomed.id}, gen_random_uuid(), 'operator', 'x', null, '{}', 200, now())`
    await sql`insert into idempotent_calls values (${doomed.id}, 'a', 'b', null, null, now(), now())`
    await sql`insert into meta_events values (${doomed.id}, 'a', now())`
    await sql`insert into expunges values (${doomed.id}, 'a', 'client', now())`
    const deliveryId = await insertDelivery(sql, doomed.id)
    await insertAttempt(sql, doomed.id, { deliveryId })
    await sql`insert into exchange_stats_stale values (${doomed.id}, now())`
    await sql`insert into exchange_stats values (${doomed.id}, 5, now(), '', '', 'replied', 1, 0, '{1}', '{1}', '{}', '{}')`
    await sql`insert into webhook_breakers (workspace_id, webhook_id, process, state, since, seen_at) values (${doomed.id}, 'a', 'b', 'open', now(), now())`
    const before = await rowsOf(doomed.id)
    expect(Object.entries(before).filter(([, count]) => count === 0)).toEqual([])

    const told = api.changed.length
    expect(await asOperator('DELETE', `/v1/workspaces/${doomed.id}`)).toMatchObject({ status: 204, text: '' })
    expect(api.changed.slice(told)).toEqual([doomed.id])
    const left = Object.entries(await rowsOf(doomed.id)).filter(([, count]) => count > 0)
    expect(Object.fromEntries(left)).toEqual({ audit_log: before.audit_log, expunges: 1 })
    expect(await sql`select kind from expunges where workspace_id = ${doomed.id}`).toEqual([{ kind: 'workspace' }])
    expect((await doomed.get('/v1/clients')).status).toBe(401)
    for (const method of ['GET', 'DELETE']) {
      expect((await asOperator(method, `/v1/workspaces/${doomed.id}`)).status).toBe(404)
    }
    // Its WABA can be registered again.
    await workspace.make('/v1/wabas', { wabaId: records.wabaId })
  })

  test('also where there is more than goes at once', async () => {
    const doomed = await api.makeWorkspace()
    const { sql } = api.database
    await sql`insert into exchanges (workspace_id, id, created_at, waba_id)
      select ${doomed.id}, gen_random_uuid(), now() - (i % 20) * interval '1 minute', '1' from generate_series(1, 12000) i`
    await sql`insert into flow_responses (workspace_id, id, flow_token, flow_token_digest, status, expires_at, updated_at)
      select ${doomed.id}, 'fr_' || i, 't' || i, sha256(i::text::bytea), 'SENT', now(), now() - (i % 3) * interval '1 day'
      from generate_series(1, 12000) i`
    for (let i = 0; i < 3; i++) await insertDelivery(sql, doomed.id, { at: new Date(Date.now() - i * 20 * 60_000) })
    expect((await asOperator('DELETE', `/v1/workspaces/${doomed.id}`)).status).toBe(204)
    expect(await rowsOf(doomed.id)).toMatchObject({ workspaces: 0, exchanges: 0, flow_responses: 0, deliveries: 0 })
  })

  test("touches no other workspace's rows", async () => {
    const other = await api.makeWorkspace()
    await makeRecords(api, other)
    const before = await rowsOf(other.id)
    const doomed = await api.makeWorkspace()
    await makeRecords(api, doomed)
    await asOperator('DELETE', `/v1/workspaces/${doomed.id}`)
    expect(await rowsOf(other.id)).toEqual(before)
  })

  test('beside changes of the same workspace: all end, none as a failure', async () => {
    const doomed = await api.makeWorkspace()
    const records = await makeRecords(api, doomed)
    const webhook = `/v1/webhooks/${records.webhookId}`
    const answers = await Promise.all([
      doomed.patch(webhook, { name: 'x' }),
      doomed.remove(webhook),
      doomed.post('/v1/webhooks', { name: 'x', url: 'https://tenant.test/', events: ['whatsapp.flows.init'] }),
      asOperator('DELETE', `/v1/workspaces/${doomed.id}`),
      doomed.patch(`/v1/wabas/${records.wabaId}`, { name: 'x' }),
      doomed.post(`/v1/wabas/${records.wabaId}/app-secrets`, { appSecret: 'x' }),
      doomed.remove(`/v1/wabas/${records.wabaId}`),
    ])
    for (const { status, text } of answers) expect([200, 201, 204, 401, 404], text).toContain(status)
    expect(await rowsOf(doomed.id)).toMatchObject({ workspaces: 0, webhooks: 0, wabas: 0, app_secrets: 0 })
  })
})

describe('DELETE of an API key', () => {
  test('kills it at once, and no other', async () => {
    const path = `/v1/workspaces/${workspace.id}/api-keys`
    const made = (await asOperator('POST', path, { name: 'short-lived' })).body
    const call = () => api.call('GET', '/v1/clients', { token: made.key })
    expect((await call()).status).toBe(200)
    expect((await asOperator('DELETE', `${path}/${made.id}`)).status).toBe(204)
    expect((await call()).status).toBe(401)
    expect((await workspace.get('/v1/clients')).status).toBe(200)
    expect((await asOperator('GET', path)).text).not.toContain(made.id)
    expect((await asOperator('DELETE', `${path}/${made.id}`)).status).toBe(404)
  })

  test("404 for another workspace's key", async () => {
    const other = await api.makeWorkspace()
    const [theirs] = (await asOperator('GET', `/v1/workspaces/${other.id}/api-keys`)).body.data
    expect((await asOperator('DELETE', `/v1/workspaces/${workspace.id}/api-keys/${theirs.id}`)).status).toBe(404)
    expect((await other.get('/v1/clients')).status).toBe(200)
  })
})
