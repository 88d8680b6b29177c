import type postgres from 'postgres'
import { expect } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'
import { type House, spoil } from './house.ts'
import type { DeliveryRow } from './matrix.ts'

/** One tenant answers the exchange, the other is told of it through the fault. `sql`: to have the clock move. */
export async function runDeliveryRow(house: House, row: DeliveryRow, sql: postgres.Sql): Promise<void> {
  const [asked, told] = [await startTenant(), await startTenant()]
  const proxy = await startProxy(told.url)
  await house.webhook(asked.url)
  const { id: webhookId } = await house.webhook(proxy.url)
  asked.next(reply({ screen: 'NEXT', data: {} }))
  told.always(reply({}))
  const waiting = (status: string) =>
    eventually(async () => {
      const [found] = (await house.get(`/v1/deliveries?webhookId=${webhookId}`)).data
      return found?.status === status ? found : null
    })

  await spoil(proxy, row.fault)
  expect((await house.account.meta.exchange('FORM', {}, 'told')).answer.screen).toBe('NEXT')
  if (row.failure === null) {
    await eventually(() => proxy.openConnections > 0)
    if (row.lifted) await proxy.restore()
    expect(await waiting('delivered')).toMatchObject({ attemptCount: 1, lastFailure: null })
  } else {
    const { id, lastFailure } = await waiting('failed')
    expect(lastFailure).toBe(row.failure)
    await proxy.restore()
    await sql`update deliveries set due_at = now() where id = ${id}`
    await sql`update relevo_queue.job set start_after = now() where id = ${id}`
    expect(await waiting('delivered')).toMatchObject({ attemptCount: 2, lastFailure: null })
  }
  expectSameBytes(asked, told, row.failure !== null && row.had ? 2 : 1)
  await Promise.all([asked.close(), told.close(), proxy.close()])
}

function expectSameBytes(asked: FakeTenant, told: FakeTenant, times: number): void {
  const [exchange] = asked.received
  expect(told.received).toHaveLength(times)
  for (const { rawBody, headers } of told.received) {
    expect(rawBody.toString()).toBe(exchange?.rawBody.toString())
    expect(headers['webhook-id']).toBe(exchange?.headers['webhook-id'])
  }
}
