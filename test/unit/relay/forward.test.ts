import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { LateListeners } from '../../../src/delivery/late-listeners.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { createDispatchers } from '../../../src/egress/dispatcher.ts'
import { createResolver } from '../../../src/egress/resolver.ts'
import type { Announcer } from '../../../src/relay/announcer.ts'
import type { RelayWebhook } from '../../../src/relay/directory.ts'
import { createForwarding, type Question } from '../../../src/relay/forward.ts'
import type { Learned } from '../../../src/relay/ledger.ts'
import { Stopwatch } from '../../../src/relay/stopwatch.ts'
import { WebhookTimes } from '../../../src/relay/webhook-times.ts'
import { startGatekeeper } from '../delivery/gatekeeper-setup.ts'
import { relayWebhook } from './samples.ts'

/** Sealed headers that open to something that is no JSON do this. */
const unsignable: RelayWebhook = {
  ...relayWebhook,
  headers: () => {
    throw new Error('not JSON')
  },
}

const none = { client: null, conversation: null, flowResponse: null, memory: { screenData: null, lastGood: null } }

function forwardingTo(webhook: RelayWebhook) {
  const { gatekeeper, changes } = startGatekeeper()
  const resolver = createResolver()
  const guard = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8'] })
  const dispatchers = createDispatchers({ guard, resolver })
  const account = {
    workspaceId: 'ws_1' as WorkspaceId,
    wabaId: '1',
    flows: [],
    webhooks: [webhook],
    appSecrets: () => [],
    requireTokenSignature: false,
  }
  /** What the record was told, in order: all but what it is to hold. */
  const told: (number | 'learned')[] = []
  let learned: Learned | null = null
  const learn = (facts: Learned) => {
    learned = facts
    told.push('learned')
  }
  const open = (awaitedInMs: number) => told.push(awaitedInMs)
  const ledger = { account, id: 'e', now: new Date(), watch: new Stopwatch(0), learn, open }
  const request = { action: 'init', screen: null, flowToken: null, version: null, payload: {}, tokenSignature: null }
  const question = { ledger, request, plaintext: Buffer.alloc(0), metaFlowId: null } as unknown as Question
  const forwarding = createForwarding({
    sessions: { load: async () => ({ found: 'nothing', ...none }) },
    dispatchers,
    gatekeeper,
    announcer: { observed: () => [] } as unknown as Announcer,
    lateListeners: new LateListeners(),
    platformAppSecrets: [],
    deadlineMs: 700,
    userAgent: 'test',
  })
  const close = async () => {
    await dispatchers.close()
    resolver.close()
  }
  return { ask: () => forwarding.ask(question), gatekeeper, changes, told, learned: () => learned, close }
}

it('an exchange that fails inside Relevo gives its place back, and says nothing of the webhook', async () => {
  const { ask, changes, close } = forwardingTo(unsignable)
  for (let call = 0; call < 70; call++) await expect(ask()).rejects.toThrow('not JSON')
  expect(changes).toEqual([])
  await close()
})

it('says of an opening when its answer is likely to wait for it: how long the webhook takes lately', async () => {
  const server = createServer((_, response) => {
    setTimeout(() => response.end('{"screen":"NEXT","data":{}}'), 30)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const { ask, told, learned, close } = forwardingTo({ ...relayWebhook, url })
  for (let call = 0; call < 2; call++) expect((await ask()).outcome).toBe('replied')
  expect(learned()).toMatchObject({ webhookId: relayWebhook.id, patienceMs: 700 })
  expect(told.slice(0, 3)).toEqual(['learned', 0, 'learned'])
  // A timer may be a millisecond early.
  expect(told[3]).toBeGreaterThan(28)
  await close()
  server.close()
})

it('opens no record of what its webhook is not asked, and says what the record is to hold: it is written whole', async () => {
  const { ask, gatekeeper, told, learned, close } = forwardingTo(relayWebhook)
  const guarded = { webhookId: relayWebhook.id, workspaceId: 'ws_1' as WorkspaceId }
  for (let call = 0; call < 20; call++) {
    gatekeeper.release(guarded, gatekeeper.admit(guarded, relayWebhook.breakerMode), 'failure')
  }
  expect((await ask()).outcome).toBe('breaker_open')
  expect(told).toEqual(['learned'])
  expect(learned()).toMatchObject({ webhookId: relayWebhook.id, envelope: expect.any(Buffer), deliveries: [] })
  await close()
})

it('knows how long a webhook takes by its last calls most', () => {
  const times = new WebhookTimes()
  expect(times.of(relayWebhook)).toBe(0)
  times.add(relayWebhook, 2)
  times.add(relayWebhook, 10)
  expect(times.of(relayWebhook)).toBe(3)
  // It is quick still.
  times.add(relayWebhook, 700)
  expect(times.of(relayWebhook)).toBeLessThan(15)
  for (let call = 0; call < 20; call++) times.add(relayWebhook, 300)
  expect(times.of(relayWebhook)).toBeGreaterThan(15)
  expect(times.of({ ...relayWebhook })).toBe(0)
})
