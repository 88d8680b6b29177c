import { canary } from './world.ts'

let made = 0
export const newFlowToken = () => `${canary.flowToken}-${++made}`

/** What phones send, member by member (protocol.md 2.1, 2.4, 2.6), with a flow token of its own. */
export function messagesOf(flowToken: string): Readonly<Record<string, object>> {
  const note = canary.payload
  const known = { flow_token: flowToken, version: '3.0' }
  return {
    ping: { version: '3.0', action: 'ping' },
    init: { data: {}, ...known, screen: '', action: 'INIT' },
    exchange: {
      data: { note, choices: ['a', 'b'], nested: { deep: [{ n: 1 }] } },
      ...known,
      screen: 'SUMMARY',
      action: 'data_exchange',
    },
    back: { data: {}, ...known, screen: 'SUMMARY', action: 'BACK' },
    signed: {
      data: { note },
      ...known,
      screen: 'A',
      action: 'data_exchange',
      version: '4.0',
      flow_token_signature: 'eyJhbGciOiJIUzI1NiJ9.e30.c2ln',
    },
    error: { data: { error: 'INVALID_SCREEN', error_message: note }, ...known, screen: 'A', action: 'data_exchange' },
    error_key: { data: { error_key: '', error_message: note }, ...known, screen: 'A', action: 'INIT' },
    media: {
      data: { photo: [{ file_name: note, media_id: '1', cdn_url: 'https://127.0.0.1/x', encryption_metadata: {} }] },
      ...known,
      screen: 'A',
      action: 'data_exchange',
    },
  }
}

export const messageNames = Object.keys(messagesOf(''))
