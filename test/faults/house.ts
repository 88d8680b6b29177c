import { generateKeyPairSync } from 'node:crypto'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, type TestRelevo } from '../support/relevo.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'
import type { Injection } from './matrix.ts'

/** Timeouts of webhooks, ms: enough for any machine where the tenant is to answer, and few where it is not. */
export const patientMs = 8000
export const shortMs = 500
/** For what must have come before the timeout. */
export const middleMs = 2000

let privateKey: string | undefined

/** One for all accounts: to make a key takes longer than most rows. */
export function flowKey(): string {
  const encoding = { type: 'pkcs8', format: 'pem' } as const
  privateKey ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(encoding).toString()
  return privateKey
}

/** An account of a row's own, in a Relevo that rows share. */
export interface House extends Awaited<ReturnType<typeof openHouse>> {}

export async function openHouse(relevo: TestRelevo) {
  const account = await createAccount(relevo, { privateKey: flowKey() })
  const { token } = account
  const get = async (path: string) => (await relevo.api('GET', path, { token })).body
  return {
    account,
    get,
    /** The first that is made answers exchanges, the next are told of them. */
    async webhook(url: string, timeoutMs = patientMs) {
      const { id } = await createWebhook(relevo, account, url, { timeoutMs })
      const wait = (ms: number) => relevo.api('PATCH', `/v1/webhooks/${id}`, { token, body: { timeoutMs: ms } })
      return { id: id as string, wait }
    },
    /** The exchanges of a flow token once there are so many and all are closed, oldest first. */
    exchanges: (flowToken: string, count = 1) =>
      eventually(async () => {
        const { data } = await get(`/v1/exchanges?flowToken=${flowToken}`)
        const isClosed = data.every((row: { outcome: string | null }) => row.outcome !== null)
        return isClosed && data.length >= count ? data.toReversed() : null
      }),
  }
}

export const plaintext = (flowToken: string) =>
  ({ action: 'data_exchange', screen: 'FORM', data: {}, flow_token: flowToken, version: '3.0' }) as const

export async function spoil(proxy: TcpProxy, fault: Injection, connections?: 'live'): Promise<void> {
  if (fault === 'refused') await proxy.cut()
  else proxy.fault(fault, connections)
}
