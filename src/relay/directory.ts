import type { KeyObject } from 'node:crypto'
import { importPrivateKey } from '../crypto/flow-key.ts'
import { type MasterKeys, openSecret } from '../crypto/sealed-secret.ts'
import type { Flow } from '../domain/flow.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { BreakerMode, WebhookFallback, WebhookFormat, WebhookSubscription } from '../domain/webhook.ts'
import { once, type Unsealer, type WebhookSigning, webhookSigning } from '../events/webhook-signing.ts'
import type { SealedRow, StoredWaba, StoredWebhook, WorkspaceConfig } from '../storage/account-config.ts'

/** A WABA as an exchange needs it. What is sealed is opened at first use and kept: parsing a key costs a millisecond. */
export interface Account {
  readonly workspaceId: WorkspaceId
  readonly wabaId: string
  readonly flows: readonly Flow[]
  readonly webhooks: readonly RelayWebhook[]
  /** Whether a webhook of the workspace falls back to earlier answers. */
  readonly fallsBackToAnswers: boolean
  appSecrets(): readonly string[]
  /** Meta events that only the platform's own apps signed are applied (contract.md §6). */
  readonly verified: boolean
  /** For the verification of the WABA's own Meta app; null without one. */
  verifyToken(): string | null
  /** Exchanges whose flow token is not signed are refused. */
  readonly requireTokenSignature: boolean
  /** Active ones, newest first. */
  flowKeys(): FlowKeyRing
}

/** Flow keys that open; ids and keys at the same index belong together. */
export interface FlowKeyRing {
  readonly ids: readonly string[]
  readonly keys: readonly KeyObject[]
}

export interface RelayWebhook extends WebhookSubscription, WebhookSigning {
  readonly url: string
  readonly timeoutMs: number | null
  readonly fallback: WebhookFallback | null
  readonly format: WebhookFormat
  readonly breakerMode: BreakerMode
}

interface KnownWorkspace {
  readonly version: number
  readonly wabaIds: readonly string[]
  /** When the breaker of each webhook was last closed by hand, unix ms; null: never. */
  readonly webhooks: ReadonlyMap<string, number | null>
}

/** What of a webhook is kept elsewhere in this process, and must follow its configuration. */
export interface WebhookKeeper {
  /** It is gone. */
  forget(webhookId: string): void
  /** Its breaker was closed by hand since the last load, or is off. */
  closeBreaker(webhookId: string): void
}

/** Of what is to be loaded again: the database has none that is it. */
const noVersion = -1
/** How long a workspace that is gone does not come back, ms: a load that began before may end after, and ids are never used again. */
const goneForMs = 10_000

/** All known WABAs, in memory: exchanges are answered from here, also while the database is away. */
export class Directory {
  readonly #unsealer: Unsealer
  readonly #accounts = new Map<string, Account>()
  readonly #versions = new Map<WorkspaceId, KnownWorkspace>()
  readonly #keeper: WebhookKeeper
  /** Since when, `performance.now()`. */
  readonly #gone = new Map<WorkspaceId, number>()
  #loaded = false

  constructor(unsealer: Unsealer, keeper: WebhookKeeper) {
    this.#unsealer = unsealer
    this.#keeper = keeper
  }

  /** False until the first load: contract.md §3 `unavailable`. */
  get loaded(): boolean {
    return this.#loaded
  }

  waba(wabaId: string): Account | null {
    return this.#accounts.get(wabaId) ?? null
  }

  /** Takes a load of everything: of what was here when it began, what it does not hold is gone. As {@link replace}. */
  async replaceAll(load: () => Promise<readonly WorkspaceConfig[]>): Promise<WorkspaceId[]> {
    const wentBack = await this.replace([...this.#versions.keys()], load)
    this.#loaded = true
    return wentBack
  }

  /**
   * Takes a load of these workspaces: those without a config are gone, those that became known newer while it was under way stay. All that is
   * new stands before anything old goes, so that a WABA that moved between two of them is never missing. Returns those that were known newer
   * before it began, and are as loaded all the same: the database lost changes. Throws what `load` does.
   */
  async replace(
    workspaceIds: readonly WorkspaceId[],
    load: () => Promise<readonly WorkspaceConfig[]>,
  ): Promise<WorkspaceId[]> {
    const held = new Map(workspaceIds.map((workspaceId) => [workspaceId, this.#versions.get(workspaceId)]))
    const configs = await load()
    const present = new Set(configs.map((config) => config.workspaceId))
    const before = workspaceIds.map((workspaceId) => [workspaceId, this.#versions.get(workspaceId)] as const)
    const wentBack = configs.filter((config) => this.#add(config, held.get(config.workspaceId)))
    for (const [workspaceId, known] of before) {
      if (!present.has(workspaceId)) this.#forget(workspaceId)
      if (known !== undefined) this.#drop(workspaceId, known)
    }
    return wentBack.map(({ workspaceId }) => workspaceId)
  }

  #forget(workspaceId: WorkspaceId): void {
    this.#versions.delete(workspaceId)
    const now = performance.now()
    for (const [earlier, at] of this.#gone) if (now - at > goneForMs) this.#gone.delete(earlier)
    this.#gone.set(workspaceId, now)
  }

  #isGone(workspaceId: WorkspaceId): boolean {
    const at = this.#gone.get(workspaceId)
    return at !== undefined && performance.now() - at <= goneForMs
  }

  /** `held`: what was known when the load began. True when that is newer. */
  #add(config: WorkspaceConfig, held: KnownWorkspace | undefined): boolean {
    const { workspaceId, version } = config
    if (this.#isGone(workspaceId)) return false
    const known = this.#versions.get(workspaceId)
    const isOlder = known !== undefined && known.version > version
    // Of a load that began later and was faster. What was known before this one began is no reason to doubt it.
    if (isOlder && known !== held) return false
    const webhooks = config.webhooks.map((webhook) => this.#webhook(workspaceId, webhook))
    for (const waba of config.wabas) this.#accounts.set(waba.wabaId, this.#account(workspaceId, waba, webhooks))
    const wabaIds = config.wabas.map((waba) => waba.wabaId)
    const closings = new Map(config.webhooks.map(({ id, breakerClosedAt }) => [id, breakerClosedAt?.getTime() ?? null]))
    this.#versions.set(workspaceId, { version, wabaIds, webhooks: closings })
    for (const { id, breakerMode } of webhooks) {
      // A process that did not know the webhook has nothing to close.
      const before = known?.webhooks.get(id)
      const isClosedByHand = before !== undefined && before !== closings.get(id)
      if (isClosedByHand || breakerMode === 'off') this.#keeper.closeBreaker(id)
    }
    return isOlder
  }

  /** Forgets what a workspace had and has no more. */
  #drop(workspaceId: WorkspaceId, known: KnownWorkspace): void {
    const now = this.#versions.get(workspaceId)
    if (now === known) return
    for (const wabaId of known.wabaIds) {
      const isTheirs = this.#accounts.get(wabaId)?.workspaceId === workspaceId
      if (!isTheirs || now?.wabaIds.includes(wabaId) === true) continue
      this.#accounts.delete(wabaId)
      // It may have moved: then who has it was loaded before an older load of this workspace, and is loaded again.
      for (const [other, held] of this.#versions) {
        if (held.wabaIds.includes(wabaId)) this.#versions.set(other, { ...held, version: noVersion })
      }
    }
    for (const webhookId of known.webhooks.keys()) {
      if (now?.webhooks.has(webhookId) !== true) this.#keeper.forget(webhookId)
    }
  }

  /** The workspaces whose version in `stored` is not the one held here, those that are gone included. */
  outdated(stored: ReadonlyMap<WorkspaceId, number>): WorkspaceId[] {
    const gone = [...this.#versions.keys()].filter((workspaceId) => !stored.has(workspaceId))
    const moved = [...stored].filter(([workspaceId, version]) => this.#versions.get(workspaceId)?.version !== version)
    return [...gone, ...moved.map(([workspaceId]) => workspaceId)]
  }

  /** The longest time a webhook may take, ms; 0 when none chose its own. */
  get longestTimeoutMs(): number {
    let longest = 0
    for (const { webhooks } of this.#accounts.values()) {
      for (const { timeoutMs } of webhooks) longest = Math.max(longest, timeoutMs ?? 0)
    }
    return longest
  }

  #account(workspaceId: WorkspaceId, waba: StoredWaba, webhooks: readonly RelayWebhook[]): Account {
    const appSecrets = once(() =>
      this.#unsealer.openAll(waba.appSecrets, 'app_secret', workspaceId).map((plain) => plain.toString()),
    )
    const flowKeys = once(() => this.#openKeys(waba.flowKeys, workspaceId))
    const { wabaId, verifyTokenSealed } = waba
    const verifyToken = once(() => {
      const rows = verifyTokenSealed === null ? [] : [{ id: wabaId, sealed: verifyTokenSealed }]
      return this.#unsealer.openAll(rows, 'verify_token', workspaceId)[0]?.toString() ?? null
    })
    return {
      workspaceId,
      wabaId,
      verified: waba.verified,
      verifyToken,
      requireTokenSignature: waba.requireTokenSignature,
      flows: waba.flows,
      webhooks,
      fallsBackToAnswers: webhooks.some(({ fallback }) => fallback?.mode === 'stay' || fallback?.mode === 'last_good'),
      appSecrets,
      flowKeys,
    }
  }

  #openKeys(rows: readonly SealedRow[], workspaceId: WorkspaceId): FlowKeyRing {
    const opened = rows.flatMap((row) =>
      this.#unsealer.openAll([row], 'flow_key', workspaceId).map((der) => ({ id: row.id, key: importPrivateKey(der) })),
    )
    return { ids: opened.map(({ id }) => id), keys: opened.map(({ key }) => key) }
  }

  #webhook(workspaceId: WorkspaceId, stored: StoredWebhook): RelayWebhook {
    const { headersSealed, signingSecrets, breakerClosedAt, ...rest } = stored
    return { ...rest, ...webhookSigning(stored, workspaceId, this.#unsealer) }
  }
}

/** False when the first stored flow key does not open: the master key is not the one it was sealed under. */
export function opensFlowKeys(configs: readonly WorkspaceConfig[], masterKeys: MasterKeys): boolean {
  for (const { workspaceId, wabas } of configs) {
    for (const [first] of wabas.map((waba) => waba.flowKeys)) {
      if (first === undefined) continue
      return openSecret(first.sealed, { purpose: 'flow_key', workspaceId, rowId: first.id }, masterKeys) !== null
    }
  }
  return true
}
