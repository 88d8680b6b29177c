import { describe, expect, it } from 'vitest'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import type { RelayWebhook } from '../../../src/relay/directory.ts'
import type { ExchangeLedger, Learned } from '../../../src/relay/ledger.ts'
import { type UnaskedExchange, unaskedEnding } from '../../../src/relay/unasked.ts'
import { relayWebhook } from './samples.ts'

const sorry = '{"screen":"SORRY","data":{}}'
const answering: RelayWebhook = { ...relayWebhook, fallback: { mode: 'static', reply: JSON.parse(sorry) } }

/** What is answered, and the webhook that the row names. */
function shed(webhooks: readonly RelayWebhook[]) {
  let named: string | null = null
  const learn = ({ webhookId = null }: Learned) => {
    named = webhookId
  }
  const account = { workspaceId: 'ws_1' as WorkspaceId, wabaId: '1', flows: [], webhooks }
  const request = { action: 'data_exchange', screen: 'A', flowToken: 'a-token' }
  const exchange = {
    ledger: { account, learn } as unknown as ExchangeLedger,
    request,
    metaFlowId: null,
  }
  const end = { outcome: 'overloaded', reason: 'waited' } as const
  const { outcome, text } = unaskedEnding(exchange as unknown as UnaskedExchange, end)
  return { outcome, text, named }
}

describe('an exchange for which there is no time', () => {
  it('gets the fallback of the webhook that would have been asked', () => {
    expect(shed([answering])).toEqual({ outcome: 'overloaded', text: sorry, named: 'wh_1' })
  })

  it('gets nobody’s where its token may belong to a flow that another webhook answers for', () => {
    const ofAFlow = { ...answering, id: 'wh_2', flowIds: ['flow_1'] }
    const text = '{"data":{"acknowledged":true}}'
    expect(shed([answering, ofAFlow])).toEqual({ outcome: 'overloaded', text, named: null })
  })
})
