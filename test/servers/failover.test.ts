import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { migrate } from '../../src/migrate.ts'
import { Primary, readHosts } from '../../src/storage/hosts.ts'
import { createRig, type Rig } from '../durability/rig.ts'
import { eventually } from '../support/eventually.ts'
import { endProcesses } from '../support/process.ts'
import { type FailoverReport, faultsOf, printFailover, reportOf } from './failover-report.ts'
import { createServers, hasPostgresql15, type Server, type Servers } from './postgresql-15.ts'

// docs/database.md: a primary and a synchronous standby, both named in DATABASE_URL.
const rate = 25
if (!hasPostgresql15) console.warn('SKIPPED: failover needs PostgreSQL 15 (Debian: postgresql-15), which is not here')

describe.skipIf(!hasPostgresql15)('two hosts in DATABASE_URL', () => {
  let servers: Servers
  let one: Server
  let two: Server
  let url: string
  let rig: Rig
  let relevoUrl: string

  beforeAll(async () => {
    servers = await createServers()
    one = await servers.create({ synchronous_commit: 'on' })
    two = await servers.standbyOf(one, 'two')
    await requireStandby(one, 'two')
    // The standby first: where the primary stands in the list must not matter.
    url = one.url().replace(`127.0.0.1:${one.port}`, `127.0.0.1:${two.port},127.0.0.1:${one.port}`)
    url += '?target_session_attrs=read-write'
    await migrate(url)
    const made = await createRig(url)
    rig = made.rig
    const [, listening = ''] = /^listening on (\S+)$/m.exec(made.first.output()) ?? []
    relevoUrl = listening
  })
  afterAll(async () => {
    endProcesses()
    await rig?.close()
    await servers?.close()
  })

  it('the primary is killed and the standby promoted: nothing lost, nothing wrong', async () => {
    const report = await failover(two, () => one.kill())
    printFailover('primary killed (SIGKILL), standby promoted', report)
    expect(faultsOf(report)).toEqual([])
  })

  it('the primary is closed to writes (25006) and the other promoted: writes go to the other', async () => {
    one = await servers.standbyOf(two, 'one', one.port)
    await requireStandby(two, 'one')
    const close = async () => {
      await two.query('alter system set default_transaction_read_only = on')
      await two.query('select pg_reload_conf()')
    }
    const report = await failover(one, close)
    printFailover('primary made read-only, standby promoted', report)
    expect(faultsOf(report)).toEqual([])
  })

  it('a primary that was failed over from comes back open to writes: the later timeline is written to', async () => {
    await two.query('alter system reset default_transaction_read_only')
    await two.query('select pg_reload_conf()')
    const isOpen = async () => (await two.query('show transaction_read_only'))[0]?.transaction_read_only === 'off'
    await eventually(isOpen, { timeoutMs: 30_000 })
    expect(await new Primary(readHosts(url)).find()).toMatchObject({ port: one.port })
  })

  it('the primary hangs and the standby is promoted: nobody waits for what does not answer', async () => {
    await two.kill()
    two = await servers.standbyOf(one, 'two', two.port)
    await requireStandby(one, 'two')
    const report = await failover(two, () => one.stall())
    printFailover('primary hangs (SIGSTOP), standby promoted', report)
    expect(faultsOf(report)).toEqual([])
  })

  /** Load throughout; `end` takes the primary away. */
  async function failover(to: Server, end: () => Promise<void>): Promise<FailoverReport> {
    const stop = new AbortController()
    const loading = rig.load(rate, 60, stop.signal)
    const before = rig.answered()
    await eventually(() => rig.answered() > before + 2 * rate, { timeoutMs: 30_000 })
    await end()
    // A watchdog needs its time to be sure.
    await eventually(async () => (await rig.metric('relevo_spool_rows')) > 2 * rate, { timeoutMs: 30_000, everyMs: 50 })
    const held = await rowsOf(to)
    const promotedAt = performance.now()
    await to.query('select pg_promote(wait => false)')
    const readyMs = untilOk(`${relevoUrl}/readyz`, promotedAt)
    await eventually(async () => (await rowsOf(to)) > held, { timeoutMs: 60_000, everyMs: 25 })
    const firstRowMs = performance.now() - promotedAt
    await eventually(async () => (await rig.metric('relevo_spool_rows')) === 0, { timeoutMs: 60_000, everyMs: 50 })
    const caughtUpMs = performance.now() - promotedAt
    await delay(1000)
    stop.abort()
    const ledger = await loading
    // Notifications come from there too, also where the old primary kept its connections.
    const listeners = () => to.query("select from pg_stat_activity where query ilike 'listen %'")
    await eventually(async () => (await listeners()).length === 1, { timeoutMs: 15_000, everyMs: 100 })
    const rowsLost = await rig.metric('relevo_recorder_rows_lost_total')
    return reportOf(to.url(), { ledger, firstRowMs, caughtUpMs, readyMs: await readyMs, rowsLost })
  }
})

/** From here on the primary waits for the standby with every commit. */
async function requireStandby(primary: Server, name: string): Promise<void> {
  await primary.query(`alter system set synchronous_standby_names = 'ANY 1 (${name})'`)
  await primary.query('select pg_reload_conf()')
  const states = () => primary.query("select from pg_stat_replication where sync_state = 'quorum'")
  await eventually(async () => (await states()).length === 1, { timeoutMs: 60_000, everyMs: 100 })
}

async function rowsOf(server: Server): Promise<number> {
  const [row] = await server.query('select count(*)::int as rows from exchanges')
  return row?.rows
}

/** Ms from `since` until the URL answers 200. */
async function untilOk(url: string, since: number): Promise<number> {
  await eventually(async () => (await fetch(url)).ok, { timeoutMs: 60_000, everyMs: 25 })
  return performance.now() - since
}
