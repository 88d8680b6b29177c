import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'
import { printRoles, rolesRun } from '../durability/roles-run.ts'
import { createTestDatabase } from '../support/database.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { eventually } from '../support/eventually.ts'
import { endProcesses, runRelevo } from '../support/process.ts'
import { createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

afterEach(endProcesses)

describe('a relay, an api and a worker', () => {
  it('know what is theirs, and are one Relevo together', async () => {
    const database = await createTestDatabase()
    const tenant = await startTenant()
    const observer = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    observer.always(reply({}))
    const proxy = await startProxy(database.url)
    await proxy.cut()
    const api = await startRelevo({ ROLE: 'api' }, { database })
    const { MASTER_KEY, ADMIN_TOKEN } = api.config
    const relay = await startRelevo({ ROLE: 'relay', MASTER_KEY, ADMIN_TOKEN }, { database })
    const late = { ROLE: 'worker', MASTER_KEY, ADMIN_TOKEN, DATABASE_URL: proxy.url }
    const worker = await startRelevo(late, { database })

    // One that is to listen when it is ready does so once the database is there; any other listens, and is ready then.
    const dataDir = await mkdtemp(join(tmpdir(), 'relevo-data-'))
    const options = { listensWhenReady: true, logDestination: { write: () => undefined } }
    const waiting = createApp({ ...worker.config, ROLE: 'relay', DATA_DIR: dataDir }, options)
    let isListening = false
    const listening = waiting.listen().then(() => {
      isListening = true
    })
    expect((await statusesOf(worker)).ready).toBe(503)
    expect(isListening).toBe(false)
    await proxy.restore()
    await listening
    await waiting.close()
    await rm(dataDir, { recursive: true, force: true })
    await eventually(async () => (await statusesOf(worker)).ready === 200, { timeoutMs: 20_000 })
    const [all, none] = [
      { live: 200, ready: 200, metrics: 200 },
      { exchange: 404, meta: 404, v1: 404, openapi: 404, docs: 404 },
    ]
    expect(await statusesOf(api)).toEqual({ ...all, ...none, v1: 200, openapi: 200, docs: 200 })
    expect(await statusesOf(relay)).toEqual({ ...all, ...none, exchange: 405, meta: 403 })
    expect(await statusesOf(worker)).toEqual({ ...all, ...none })

    const account = await createAccount(api)
    await createWebhook(api, account, tenant.url)
    await createWebhook(api, account, observer.url)
    const at = account.endpointUri.replace(api.url, relay.url)
    await eventually(async () => (await account.meta.init(null, { at })).answer.screen === 'A', { timeoutMs: 10_000 })
    // Told sooner than if the relay had kept it for itself to attempt: that would be after 30 s. The relay may just learn of the observer.
    const told = async () => {
      await account.meta.init(null, { at })
      return observer.received.length > 0
    }
    await eventually(told, { timeoutMs: 20_000, everyMs: 100 })

    for (const part of [api, relay, worker]) await part.close()
    await Promise.all([tenant.close(), observer.close(), proxy.close()])
    await database.drop()
  })
})

async function statusesOf({ url, config }: TestRelevo): Promise<Record<string, number>> {
  // RFC 9110: the scheme is in any case.
  const headers = { authorization: `bearer ${config.ADMIN_TOKEN}` }
  const of = async (path: string) => (await fetch(url + path, { headers })).status
  return {
    exchange: await of('/api/whatsapp/flows/1/data'),
    meta: await of('/api/whatsapp/webhook'),
    v1: await of('/v1/workspaces'),
    openapi: await of('/openapi.json'),
    docs: await of('/docs'),
    live: await of('/livez'),
    ready: await of('/readyz'),
    metrics: await of('/metrics'),
  }
}

it('of one DATA_DIR, without DATABASE_URL, share its database, which ends with the last of them', {
  timeout: 120_000,
}, async () => {
  const dataDir = await freshDataDir()
  const start = (ROLE: string) => runRelevo(['serve'], { ROLE, DATA_DIR: dataDir, PORT: '0' })
  const relay = start('relay')
  const exchange = `${await relay.listening()}/api/whatsapp/flows/1/data`
  const api = start('api')
  const workspaces = `${await api.listening()}/v1/workspaces`
  expect((await fetch(exchange)).status).toBe(405)
  relay.child.kill('SIGTERM')
  expect(await relay.ended()).toBe(0)
  const adminToken = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim()
  const headers = { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' }
  const made = await fetch(workspaces, { method: 'POST', headers, body: '{"name":"Shop"}' })
  expect(made.status).toBe(201)
  api.child.kill('SIGTERM')
  expect(await api.ended()).toBe(0)
  expect(await livePostmaster(join(dataDir, 'postgresql'))).toBeUndefined()
  await removeEmbedded(dataDir)
})

// `npm run soak:roles` does more of it.
describe('under load', () => {
  it('any of them is killed: nothing is lost, and nothing answered wrongly', async () => {
    const database = await createTestDatabase()
    const report = await rolesRun(database.url, 15, false)
    printRoles(report)
    expect(report).toMatchObject({ kills: 4, lost: 0, twice: 0, unknown: 0, untold: 0 })
    const { summary, answered, sent } = report.ledger
    expect(summary.wrong).toBe(0)
    // What was under way when its relay was killed has no answer; a relay that has just started may have too much to do.
    expect(answered.size + summary.fallback + summary.lost).toBe(sent.size)
    expect(answered.size).toBeGreaterThan(sent.size / 2)
    expect(report.shared).toEqual({ served: 2, uncounted: 0, restarts: 1, fell: 0 })
    // The deadline, 5 s for what is in flight, 9 s for rows: contract.md §8.
    expect(report.exits).toEqual([0, 0, 0, 0])
    expect(report.endMs).toBeLessThan(30_000)
    expect(report.orphans).toBe(0)
    await database.drop()
  }, 240_000)
})
