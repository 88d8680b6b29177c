import { afterEach, beforeEach } from 'vitest'
import { type Attempt, type LateReplies, type SignedRequest, sendAttempt } from '../../src/delivery/attempt.ts'
import { createAddressGuard } from '../../src/egress/address-guard.ts'
import { createDispatchers, type Dispatchers } from '../../src/egress/dispatcher.ts'
import { createResolver, type Resolver } from '../../src/egress/resolver.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'

interface Opening {
  readonly allowedNetworks?: string[]
  readonly resolver?: Resolver
  readonly ca?: string
  readonly now?: () => number
}

/** What each test of attempts has afresh: a tenant, dispatchers that may call loopback, and an orderly end of both. */
export class AttemptSetup {
  readonly resolver: Resolver = createResolver()
  /** What the test opened besides; closed after it, last first. */
  readonly extras: (() => unknown)[] = []
  readonly dispatchers: Dispatchers = this.open()
  readonly tenant: FakeTenant

  constructor(tenant: FakeTenant) {
    this.tenant = tenant
  }

  open(options: Opening = {}): Dispatchers {
    const guard = createAddressGuard({ allowHttp: true, allowedNetworks: options.allowedNetworks ?? ['127.0.0.0/8'] })
    const tls = options.ca === undefined ? {} : { tls: { ca: options.ca } }
    const now = options.now ?? (() => performance.now())
    const opened = createDispatchers({ guard, resolver: options.resolver ?? this.resolver, now, ...tls })
    this.extras.push(() => opened.close())
    return opened
  }

  send(
    options: Partial<SignedRequest> = {},
    through: Dispatchers = this.dispatchers,
    late?: LateReplies,
  ): Promise<Attempt> {
    const request = {
      webhookId: 'wh_1',
      url: this.tenant.url,
      headers: { 'content-type': 'application/json' },
      body: requestBody,
      deadlineMs: 5_000,
      maxReplyBytes: 262_144,
    }
    return sendAttempt(through, { ...request, ...options }, late)
  }

  async close(): Promise<void> {
    for (const close of this.extras.toReversed()) await close()
    this.resolver.close()
    await this.tenant.close()
    this.tenant.assertNoSurprises()
  }
}

export const requestBody = Buffer.from('{"id":"1"}')

/** Registers the hooks in the calling file; `use` is given each test's own setup. */
export function setUpAttempts(use: (setup: AttemptSetup) => void): void {
  let setup: AttemptSetup
  beforeEach(async () => {
    setup = new AttemptSetup(await startTenant())
    use(setup)
  })
  afterEach(() => setup.close())
}

/** Sockets, servers and timers that keep this process alive; the test runner's own are there before and after. */
export function activeHandles(): number {
  return process.getActiveResourcesInfo().filter((kind) => /TCP|TLS|Timeout/.test(kind)).length
}
