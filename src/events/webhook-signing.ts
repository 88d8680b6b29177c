import { type MasterKeys, openSecret, type SecretPlace } from '../crypto/sealed-secret.ts'
import { readSigningSecret, type SigningSecret, type WebhookSigningSecrets } from '../crypto/webhook-signature.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { SealedRow, StoredWebhook } from '../storage/account-config.ts'

/** What it takes to sign for a webhook. Opened at first use and kept. */
export interface WebhookSigning {
  /** The webhook's own headers. */
  headers(): Readonly<Record<string, string>>
  /** The secrets that live at `now`. */
  signingSecrets(now: Date): WebhookSigningSecrets
}

/** Opens sealed rows; what does not open is left out and reported. */
export class Unsealer {
  readonly #masterKeys: MasterKeys
  readonly #unopened: (place: SecretPlace) => void

  constructor(masterKeys: MasterKeys, unopened: (place: SecretPlace) => void) {
    this.#masterKeys = masterKeys
    this.#unopened = unopened
  }

  openAll(rows: readonly SealedRow[], purpose: SecretPlace['purpose'], workspaceId: WorkspaceId): Buffer[] {
    return rows.flatMap((row) => {
      const place = { purpose, workspaceId, rowId: row.id }
      const plain = openSecret(row.sealed, place, this.#masterKeys)
      if (plain === null) this.#unopened(place)
      return plain === null ? [] : [plain]
    })
  }
}

/** Ours to set (contract.md §4). The API refuses them; this holds whatever is stored. */
const ownNames = /^(x-webhook-.*|webhook-.*|content-type|user-agent|traceparent|tracestate)$/i

export function webhookSigning(
  { id, headersSealed, signingSecrets }: Pick<StoredWebhook, 'id' | 'headersSealed' | 'signingSecrets'>,
  workspaceId: WorkspaceId,
  unsealer: Unsealer,
): WebhookSigning {
  const headers = once((): Record<string, string> => {
    const rows = headersSealed === null ? [] : [{ id, sealed: headersSealed }]
    const [plain] = unsealer.openAll(rows, 'webhook_headers', workspaceId)
    const stored: Record<string, string> = plain === undefined ? {} : JSON.parse(plain.toString())
    return Object.fromEntries(Object.entries(stored).filter(([name]) => !ownNames.test(name)))
  })
  const opened = once(() =>
    signingSecrets.flatMap(({ expiresAt, ...row }) =>
      unsealer
        .openAll([row], 'webhook_secret', workspaceId)
        .map((plain) => ({ expiresAt, secret: readSigningSecret(plain.toString()) })),
    ),
  )
  return { headers, signingSecrets: (now) => liveSecrets(opened(), now) }
}

function liveSecrets(
  secrets: readonly { readonly expiresAt: Date | null; readonly secret: SigningSecret }[],
  now: Date,
): WebhookSigningSecrets {
  let current: SigningSecret | null = null
  const previous: SigningSecret[] = []
  for (const { expiresAt, secret } of secrets) {
    if (expiresAt === null) current = secret
    else if (expiresAt > now) previous.push(secret)
  }
  return { current, previous }
}

export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
