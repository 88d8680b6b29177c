import postgres from 'postgres'
import { expect, it } from 'vitest'
import { dayMs, dayOf, nameOfDay } from '../../src/domain/day.ts'
import { createTestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { createAccount, startRelevo, type TestRelevo } from '../support/relevo.ts'

const isElected = ({ logs }: TestRelevo) => logs.some(({ msg }) => msg === 'this process does the maintenance now')

it('one of two processes does it, the other once that has ended; both make partitions before they listen', async () => {
  const database = await createTestDatabase()
  const sql = postgres(database.url, { max: 1 })
  const [first, second] = [await startRelevo({}, { database }), await startRelevo({}, { database })]
  const [made] =
    await sql`select to_regclass(${`attempts_${nameOfDay(dayOf(Date.now()) + 3 * dayMs)}`}) is not null as is_there`
  expect(made).toEqual({ is_there: true })
  await eventually(() => isElected(first))

  const account = await createAccount(first)
  const { token } = account
  const expiresAt = new Date(Date.now() - 1000).toISOString()
  const body = { flowToken: 'a-token', expiresAt }
  const { body: sent } = await first.api('POST', '/v1/flow-responses', { token, body })
  // Every answer shows it so; the row is what the maintenance changes.
  expect(sent.status).toBe('EXPIRED')
  const isSwept = async () =>
    (await sql`select 1 from flow_responses where id = ${sent.id} and status = 'EXPIRED'`).length === 1
  await eventually(isSwept, { timeoutMs: 15_000 })
  const expired = (await second.api('GET', `/v1/flow-responses/${sent.id}`, { token })).body
  expect(expired).toMatchObject({ status: 'EXPIRED', lastActivityAt: null, expiresAt })
  const metrics = await fetch(`${first.url}/metrics`, {
    headers: { authorization: `Bearer ${first.config.ADMIN_TOKEN}` },
  })
  expect(await metrics.text()).toContain('relevo_default_partition_rows{table="exchanges"} 0')

  expect(isElected(second)).toBe(false)
  await first.close()
  await eventually(() => isElected(second), { timeoutMs: 15_000 })
  await second.close()
  await sql.end()
  await database.drop()
})
