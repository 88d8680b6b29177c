import { expect } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import type { Behaviour } from '../support/tenant.ts'
import { text } from '../support/tenant-behaviours.ts'
import { type House, middleMs, patientMs, shortMs, spoil } from './house.ts'
import type { TenantRow } from './matrix.ts'

const acknowledged = '{"data":{"acknowledged":true}}'
/** Its head ends before 600 bytes, its body after. */
const small = JSON.stringify({ screen: 'NEXT', data: { text: 'x'.repeat(1000) } })
const large = JSON.stringify({ screen: 'NEXT', data: { text: 'x'.repeat(100_000) } })

const replies: Record<NonNullable<TenantRow['reply']> | 'small', Behaviour> = {
  small: text(small),
  large: text(large),
  chunked({ response }) {
    response.writeHead(200).write(small.slice(0, 100))
    response.end(small.slice(100))
  },
  'to the end'({ socket }) {
    socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n${small}`)
  },
}

/** Replies as the URL's query says. */
export const replyAsNamed: Behaviour = (call) => {
  const [, name = ''] = decodeURIComponent(call.received.path).split('?')
  return replies[name as keyof typeof replies](call)
}

/** Before the fault where the row needs it, under it, and after it. `tenantUrl`: of one that replies as named. */
export async function runTenantRow(house: House, row: TenantRow, tenantUrl: string): Promise<void> {
  const proxy = await startProxy(tenantUrl)
  const isTimeout = row.outcome === 'timeout'
  const timeoutMs = !isTimeout ? patientMs : row.came === 'head' ? middleMs : shortMs
  const url = `${proxy.url}?${encodeURIComponent(row.reply ?? 'small')}`
  const webhook = await house.webhook(url, row.on === 'live' ? patientMs : timeoutMs)
  const call = (when: string) => house.account.meta.exchange('FORM', {}, when)
  const reply = row.reply === 'large' ? large : small
  if (row.on === 'live') expect((await call('before')).text).toBe(reply)
  if (row.on === 'live' && isTimeout) await webhook.wait(timeoutMs)

  await spoil(proxy, row.fault, row.on)
  // An end that is still on its way when the request leaves is another row.
  if (row.on === 'live' && row.outcome === 'replied') await eventually(() => proxy.openConnections === 0)
  const { status, text } = await call('spoiled')
  const [{ id }] = await house.exchanges('spoiled')
  const { outcome, webhookMs, attempt } = await house.get(`/v1/exchanges/${id}`)
  expect([row.outcome].flat()).toContain(outcome)
  expect({ status, text }).toEqual({ status: 200, text: outcome === 'replied' ? reply : acknowledged })
  if (row.came !== undefined) expect(cameOf(attempt)).toBe(row.came)
  if (isTimeout) expect(webhookMs).toBeGreaterThanOrEqual(timeoutMs)

  await proxy.restore()
  if (isTimeout) await webhook.wait(patientMs)
  expect((await call('after')).text).toBe(reply)
  await proxy.close()
}

function cameOf(attempt: Record<string, unknown>): TenantRow['came'] {
  if (attempt.failure === null) return 'all'
  if (attempt.connectMs === null) return 'no connection'
  return attempt.headMs === null ? 'request sent' : 'head'
}
