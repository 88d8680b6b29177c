import { api } from './api.ts'
import { exchangeBytes } from './exchange-bytes.ts'
import { metaWebhooks } from './meta-webhooks.ts'
import { plaintext } from './plaintext.ts'
import type { TargetKind } from './target.ts'
import { tenantReplies } from './tenant-replies.ts'

/** Every place where bytes of others come in. */
export const targets: readonly TargetKind[] = [exchangeBytes, plaintext, tenantReplies, metaWebhooks, api]
