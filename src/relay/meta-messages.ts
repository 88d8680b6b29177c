import type { Client, Conversation } from '../domain/envelope.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { MetaMessage } from '../domain/meta-webhook.ts'
import type { SqlTransaction } from '../storage/database.ts'
import { insertMetaEvents } from '../storage/meta-events.ts'
import { channelIdsOf, countMessages, type Sender, upsertSenders, type Written } from '../storage/senders.ts'
import { type Completed, confirmCompletions } from './meta-completions.ts'
import type { ToldMessage } from './meta-told.ts'
import type { Teller } from './teller.ts'

/**
 * Writes messages in the transaction `tx`: clients, conversations, and the flow responses that they complete; what was told before is left out.
 * Locks are taken in one order by all: digests, clients, conversations, flow responses.
 */
export async function writeMessages(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  told: readonly ToldMessage[],
  teller: Teller,
): Promise<{ readonly applied: number; readonly ignored: number }> {
  const now = new Date()
  const digests = told.map(({ digest }) => digest)
  const fresh = await insertMetaEvents(tx, workspaceId, digests, now)
  const applied = told.filter(({ digest }) => fresh.has(digest.toString('hex')))
  if (applied.length === 0) return { applied: 0, ignored: 0 }
  const messages = applied.map(({ message }) => message)
  const threadOf = await writeThreads(tx, workspaceId, messages, now)
  const completed = applied.flatMap(({ account, message }): Completed[] => {
    const { completion, sentAt } = message
    // Meta's clock may be ahead of ours.
    const at = sentAt !== null && sentAt < now ? sentAt : now
    return completion === null ? [] : [{ account, completion, at, ...threadOf(message) }]
  })
  const { tellings, ignored } = await confirmCompletions(tx, workspaceId, completed, now)
  await teller.tell(tx, tellings)
  return { applied: applied.length - ignored, ignored }
}

/** Who wrote, where. */
interface Thread {
  readonly client: Client | null
  readonly conversation: Conversation | null
  readonly channelId: string | null
}

async function writeThreads(
  tx: SqlTransaction,
  workspaceId: WorkspaceId,
  messages: readonly MetaMessage[],
  now: Date,
): Promise<(message: MetaMessage) => Thread> {
  const phoneNumberIds = new Set(messages.flatMap(({ phoneNumberId }) => phoneNumberId ?? []))
  const [channels, clients] = await Promise.all([
    channelIdsOf(tx, workspaceId, [...phoneNumberIds]),
    upsertSenders(tx, workspaceId, sendersOf(messages), now),
  ])
  const whereOf = ({ phoneNumber, phoneNumberId }: MetaMessage) => ({
    client: clients.get(phoneNumber ?? '') ?? null,
    channelId: channels.get(phoneNumberId ?? '') ?? null,
  })
  const written = new Map<string, Written>()
  for (const message of messages) {
    const { client, channelId } = whereOf(message)
    if (client === null) continue
    const name = `${client.id} ${channelId}`
    written.set(name, { clientId: client.id, channelId, messages: (written.get(name)?.messages ?? 0) + 1 })
  }
  const conversations = await countMessages(tx, workspaceId, [...written.values()], now)
  const conversationOf = new Map([...written.keys()].map((name, index) => [name, conversations[index]]))
  return (message) => {
    const { client, channelId } = whereOf(message)
    return { client, channelId, conversation: conversationOf.get(`${client?.id} ${channelId}`) ?? null }
  }
}

/** Each once, by the first name that a message of theirs has. */
function sendersOf(messages: readonly MetaMessage[]): Sender[] {
  const senders = new Map<string, Sender>()
  for (const { phoneNumber, name } of messages) {
    if (phoneNumber !== null && !senders.get(phoneNumber)?.name) senders.set(phoneNumber, { phoneNumber, name })
  }
  return [...senders.values()]
}
