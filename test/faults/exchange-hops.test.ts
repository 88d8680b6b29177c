import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeCertificate } from '../support/certificate.ts'
import { startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { runDeliveryRow } from './delivery-row.ts'
import { openHouse } from './house.ts'
import { deliveryRows, metaRows, tenantRows } from './matrix.ts'
import { runMetaRow } from './meta-row.ts'
import { named, tables } from './page.ts'
import { replyAsNamed, runTenantRow } from './tenant-row.ts'

/** The rows of docs/faults.md before a tenant and before Relevo, many at a time, each through a proxy of its own. */
let relevo: TestRelevo
let plain: FakeTenant
let secure: FakeTenant
let sql: postgres.Sql

beforeAll(async () => {
  const tls = makeCertificate({ hosts: ['127.0.0.1'] })
  relevo = await startRelevo({ ENRICHMENT_BUDGET_MS: '5000' }, { webhookCa: tls.cert })
  sql = postgres(relevo.database.url, { max: 2 })
  plain = await startTenant()
  secure = await startTenant({ tls: tls })
  for (const tenant of [plain, secure]) tenant.always(replyAsNamed)
})
afterAll(async () => {
  await sql.end()
  await Promise.all([plain.close(), secure.close()])
  await relevo.close()
  expect(relevo.logs.filter(({ msg }) => String(msg).includes('inside Relevo'))).toEqual([])
})

describe('before a tenant that answers', () => {
  it.concurrent.each(named(tables.tenant, tenantRows))('%s', async (_name, row) =>
    runTenantRow(await openHouse(relevo), row, (row.over === 'TLS' ? secure : plain).url),
  )
})

describe('before a tenant that is told', () => {
  it.concurrent.each(named(tables.delivery, deliveryRows))('%s', async (_name, row) =>
    runDeliveryRow(await openHouse(relevo), row, sql),
  )
})

describe('before Relevo', () => {
  it.concurrent.each(named(tables.meta, metaRows))('%s', async (_name, row) => runMetaRow(await openHouse(relevo), row))
})
