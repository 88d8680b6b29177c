import type { RelayWebhook } from '../../../src/relay/directory.ts'

/** A webhook as the directory has it, that takes every exchange. */
export const relayWebhook: RelayWebhook = {
  id: 'wh_1',
  active: true,
  events: ['whatsapp.flows.exchanges'],
  flowIds: null,
  createdAt: new Date(0),
  url: 'https://tenant.test/',
  timeoutMs: null,
  fallback: null,
  format: 'envelope',
  breakerMode: 'on',
  headers: () => ({}),
  signingSecrets: () => ({ current: null, previous: [] }),
}
