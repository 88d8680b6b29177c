import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { createTestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { create, createAccount, createWebhook, startRelevo } from '../support/relevo.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'
import { flowKey, patientMs } from './house.ts'

/** A Relevo with a database of its own behind a proxy, a tenant that answers and one that is told. */
export interface DatabaseHouse extends Awaited<ReturnType<typeof openDatabaseHouse>> {}

export const next = { screen: 'NEXT', data: {} }

export async function openDatabaseHouse(budgetMs: number) {
  const database = await createTestDatabase()
  const sql = postgres(database.url, { max: 1 })
  const proxy = await startProxy(database.url)
  const settings = { ENRICHMENT_BUDGET_MS: String(budgetMs) }
  const relevo = await startRelevo(settings, { database: { url: proxy.url, drop: database.drop } })
  const [asked, told] = [await startTenant(), await startTenant()]
  asked.always(reply(next))
  told.always(reply({}))
  const account = await createAccount(relevo, { privateKey: flowKey() })
  const { token } = account
  await createWebhook(relevo, account, asked.url, { timeoutMs: patientMs })
  await createWebhook(relevo, account, told.url)
  const client = await create(relevo, '/v1/clients', { phoneNumber: '+15550109999', name: 'Ana' }, token)
  const spool = join(relevo.config.DATA_DIR, 'spool')

  return {
    proxy,
    relevo,
    /** A flow token whose person is known, so that records can be found. */
    know: (flowToken: string) => create(relevo, '/v1/flow-responses', { flowToken, clientId: client.id }, token),
    /** One exchange; its answer, its id and what the envelope told. */
    async call(flowToken: string) {
      const { answer, ms } = await account.meta.exchange('FORM', {}, flowToken)
      const { id, data } = JSON.parse(bodiesOf(asked, flowToken).at(-1) ?? '')
      return { answer, ms, id: id as string, records: data.client === null ? 'null' : 'sent' } as const
    },
    /** Where an exchange's row is, looked at past the proxy. */
    async whereIs(id: string): Promise<('database' | 'spool')[]> {
      const [found, names] = await Promise.all([
        sql`select from exchanges where id = ${id}`,
        readdir(spool).catch(() => []),
      ])
      const files = await Promise.all(names.map((name) => readFile(join(spool, name), 'latin1').catch(() => '')))
      const isSpooled = files.some((text) => text.includes(id))
      return [...(found.length > 0 ? (['database'] as const) : []), ...(isSpooled ? (['spool'] as const) : [])]
    },
    /** The exchanges of a flow token once there are so many, oldest first. */
    exchanges: (flowToken: string, count: number, timeoutMs: number): Promise<{ id: string; outcome: string }[]> =>
      eventually(
        async () => {
          const { body } = await relevo.api('GET', `/v1/exchanges?flowToken=${flowToken}&limit=100`, { token })
          const isClosed = body.data.every((row: { outcome: string | null }) => row.outcome !== null)
          return isClosed && body.data.length >= count ? body.data.toReversed() : null
        },
        { timeoutMs, everyMs: 50 },
      ),
    /** What the tenant was asked of a flow token, and what the other is told or will be: envelopes, in order. */
    asked: (flowToken: string) => bodiesOf(asked, flowToken),
    async deliveries(flowToken: string): Promise<string[]> {
      const rows = await sql`select envelope from deliveries where resource_id = ${flowToken} order by event_id`
      return rows.map(({ envelope }) => envelope.toString())
    },
    async close(): Promise<void> {
      await sql.end()
      await relevo.close()
      await Promise.all([proxy.close(), asked.close(), told.close()])
      await database.drop()
    },
  }
}

const bodiesOf = ({ received }: FakeTenant, flowToken: string): string[] =>
  received
    .filter(({ headers }) => headers['x-webhook-resource-id'] === flowToken)
    .map(({ rawBody }) => rawBody.toString())
