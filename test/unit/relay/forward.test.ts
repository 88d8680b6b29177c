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
import type { Wait } from '../../../src/relay/row-queue.ts'
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
  const waits: Wait[] = []
  const open = (_found: unknown, _deliveries: unknown, wait: Wait) => waits.push(wait)
  const ledger = { account, id: 'e', now: new Date(), watch: new Stopwatch(0), open }
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
  return { ask: () => forwarding.ask(question), changes, waits, close }
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
  const { ask, waits, close } = forwardingTo({ ...relayWebhook, url })
  for (let call = 0; call < 2; call++) expect((await ask()).outcome).toBe('replied')
  expect(waits[0]).toEqual({ patienceMs: 700, awaitedInMs: 0 })
  // A timer may be a millisecond early.
  expect(waits[1]?.awaitedInMs).toBeGreaterThan(28)
  await close()
  server.close()
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
