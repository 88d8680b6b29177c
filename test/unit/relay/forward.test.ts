import { expect, it } from 'vitest'
import { LateListeners } from '../../../src/delivery/late-listeners.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { createDispatchers } from '../../../src/egress/dispatcher.ts'
import { createResolver } from '../../../src/egress/resolver.ts'
import type { Announcer } from '../../../src/relay/announcer.ts'
import type { RelayWebhook } from '../../../src/relay/directory.ts'
import { createForwarding, type Question } from '../../../src/relay/forward.ts'
import type { ExchangeLedger } from '../../../src/relay/ledger.ts'
import { Stopwatch } from '../../../src/relay/stopwatch.ts'
import { startGatekeeper } from '../delivery/gatekeeper-setup.ts'
import { relayWebhook } from './samples.ts'

/** Sealed headers that open to something that is no JSON do this. */
const unsignable: RelayWebhook = {
  ...relayWebhook,
  headers: () => {
    throw new Error('not JSON')
  },
}

it('an exchange that fails inside Relevo gives its place back, and says nothing of the webhook', async () => {
  const { gatekeeper, changes } = startGatekeeper()
  const resolver = createResolver()
  const dispatchers = createDispatchers({
    guard: createAddressGuard({ allowHttp: false, allowedNetworks: [] }),
    resolver,
  })
  const account = {
    workspaceId: 'ws_1' as WorkspaceId,
    wabaId: '1',
    flows: [],
    webhooks: [unsignable],
    appSecrets: () => [],
    requireTokenSignature: false,
  }
  const ledger = { account, id: 'e', now: new Date(), watch: new Stopwatch(0), open: () => {} }
  const request = { action: 'init', screen: null, flowToken: null, version: null, payload: {}, tokenSignature: null }
  const question = {
    ledger: ledger as unknown as ExchangeLedger,
    request,
    plaintext: Buffer.alloc(0),
    metaFlowId: null,
  }
  const none = { client: null, conversation: null, flowResponse: null, memory: { screenData: null, lastGood: null } }
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
  for (let call = 0; call < 70; call++) {
    await expect(forwarding.ask(question as unknown as Question)).rejects.toThrow('not JSON')
  }
  expect(changes).toEqual([])
  await dispatchers.close()
  resolver.close()
})
