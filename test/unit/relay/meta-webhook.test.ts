import { createHmac } from 'node:crypto'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import type { Account, Directory } from '../../../src/relay/directory.ts'
import type { MetaEvents } from '../../../src/relay/meta-events.ts'
import { MetaWebhook, mostBytesOfWorkspace } from '../../../src/relay/meta-webhook.ts'
import type { Database } from '../../../src/storage/database.ts'
import { bodyOf, entryOf, messageChange } from '../../support/meta-webhook.ts'

const platform = 'secret of the platform'
const bodyBytes = mostBytesOfWorkspace / 4

/** The workspace of a WABA is the letter that its id begins with, as is the secret of its own app. What is to be written waits until it is let go. */
function heldWebhook() {
  const account = (wabaId: string) => {
    const [letter = ''] = wabaId
    return {
      wabaId,
      workspaceId: letter as WorkspaceId,
      verified: true,
      appSecrets: () => [letter],
    } as unknown as Account
  }
  const held = Promise.withResolvers<void>()
  const webhook = new MetaWebhook({
    directory: { loaded: true, waba: account } as unknown as Directory,
    platformAppSecrets: [platform],
    signatureRequired: true,
    verifyToken: undefined,
    events: { apply: () => held.promise } as unknown as MetaEvents,
    database: {} as Database,
    metrics: { metaEntriesDropped: () => undefined } as never,
    log: pino({ enabled: false }),
  })
  /** 0 while it is under way. */
  const post = async (secret: string, ...wabaIds: string[]) => {
    const text = JSON.stringify(bodyOf(...wabaIds.map((wabaId) => entryOf(wabaId, messageChange()))))
    const body = Buffer.from(text.padEnd(bodyBytes))
    const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`
    const answer = webhook.receive({ wabaId: null, body, signature })
    return Promise.race([answer, new Promise<null>((resolve) => setImmediate(resolve, null))]).then(
      (early) => early?.status ?? 0,
    )
  }
  return { post, held }
}

it('a workspace whose bodies fill its share is told to come again, and no other, until they are written', async () => {
  const { post, held } = heldWebhook()
  for (let bytes = 0; bytes < mostBytesOfWorkspace; bytes += bodyBytes) expect(await post('a', 'a1')).toBe(0)
  expect(await post('a', 'a1')).toBe(503)
  expect(await post(platform, 'a1')).toBe(503)
  expect(await post('b', 'b1')).toBe(0)
  // Of several workspaces, which one of them must not keep from being told.
  expect(await post(platform, 'a1', 'b1')).toBe(0)
  held.resolve()
  await expect.poll(() => post('a', 'a1')).toBe(200)
})
