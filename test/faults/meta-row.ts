import { expect } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'
import { type House, plaintext, spoil } from './house.ts'
import type { MetaRow } from './matrix.ts'

const next = { screen: 'NEXT', data: {} }

/** A call through the fault, and the same bytes again when it is lifted. */
export async function runMetaRow(house: House, row: MetaRow): Promise<void> {
  const { account } = house
  const proxy = await startProxy(account.endpointUri)
  const tenant = await startTenant()
  const { promise: turnIsOver, resolve: endTurn } = Promise.withResolvers<void>()
  tenant.next(async (call) => {
    await turnIsOver
    await reply(next)(call)
  })
  await house.webhook(tenant.url)
  const flowToken = 'a-token'
  const call = account.meta.seal(plaintext(flowToken))
  const send = () => account.meta.send(call, { at: proxy.url })

  if (row.from === 'the call') await spoil(proxy, row.fault)
  const heard = send().then(
    ({ answer }) => answer,
    (error: Error) => (error.message.includes('(400)') ? 400 : null),
  )
  if (row.from === 'the tenant’s turn') {
    await eventually(() => tenant.received.length === 1)
    await spoil(proxy, row.fault)
    // Relevo has seen the end too, or it could answer before.
    if (row.metaGets === 'an end') await heard
  }
  endTurn()
  if (row.outcome === null) await Promise.race([heard, eventually(() => proxy.openConnections > 0)])
  else expect(await house.exchanges(flowToken)).toMatchObject([{ outcome: row.outcome }])
  // Who hears nothing gives up in the end.
  if (row.metaGets === 'nothing') await proxy.cut()
  const gets = { 'the answer': [next], 'a 400, an end': [400, null], 'an end': [null], nothing: [null] }
  expect(gets[row.metaGets]).toContainEqual(await heard)

  await proxy.restore()
  // Its agent may first take a connection that has just ended.
  expect((await eventually(send)).answer).toEqual(next)
  const before = row.outcome === null ? [] : [{ outcome: row.outcome }]
  const rows = await house.exchanges(flowToken, before.length + 1)
  expect(rows).toMatchObject([...before, { outcome: row.again }])
  expect(tenant.received).toHaveLength(1)
  tenant.assertNoSurprises()
  await proxy.close()
  await tenant.close()
}
