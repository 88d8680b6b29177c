import { sha256 } from '../crypto/digest.ts'
import {
  type FlowNotice,
  type MetaEntry,
  type MetaMessage,
  newFormBound,
  readFlowNotice,
  readMessages,
} from '../domain/meta-webhook.ts'
import type { Account } from './directory.ts'

/** An entry that the body's signature covers. */
export interface AdmittedEntry {
  readonly account: Account
  readonly entry: MetaEntry
}

/** What Meta may tell again: the digest is the same then. */
interface Told {
  readonly account: Account
  readonly digest: Buffer
}
export interface ToldMessage extends Told {
  readonly message: MetaMessage
}
export interface ToldNotice extends Told {
  readonly notice: FlowNotice
  /** By Meta's clock. */
  readonly at: Date | null
}

/** What the entries tell, each once; `unknown`: fields and events that are not known here. */
export interface ToldThings {
  readonly messages: readonly ToldMessage[]
  readonly notices: readonly ToldNotice[]
  readonly unknown: readonly { readonly account: Account; readonly field: string }[]
}

/** Two apps that are subscribed to one WABA are told the same: the digest is of the WABA, not of the app. */
export function readTold(entries: readonly AdmittedEntry[]): ToldThings {
  const messages = new Map<string, ToldMessage>()
  const notices = new Map<string, ToldNotice>()
  const unknown: { account: Account; field: string }[] = []
  const bound = newFormBound()
  for (const { account, entry } of entries) {
    for (const { field, value } of entry.changes) {
      if (field === 'messages') {
        for (const message of readMessages(value, bound)) {
          const digest = digestOf(account, 'message', message.id ?? JSON.stringify(message.source))
          messages.set(digest.toString('hex'), { account, digest, message })
        }
        continue
      }
      const notice = field === 'flows' ? readFlowNotice(value) : null
      if (notice === null) {
        unknown.push({ account, field })
        continue
      }
      // With the time: the same rate may be reached twice.
      const digest = digestOf(account, 'flows', `${entry.time?.toISOString()} ${JSON.stringify(value)}`)
      notices.set(digest.toString('hex'), { account, digest, notice, at: entry.time })
    }
  }
  return { messages: [...messages.values()], notices: [...notices.values()], unknown }
}

function digestOf({ wabaId }: Account, kind: 'message' | 'flows', what: string): Buffer {
  return sha256(`${wabaId} ${kind} ${what}`)
}
