import { expect, it, onTestFinished } from 'vitest'
import { newWorkspaceId, type WorkspaceId } from '../../../src/domain/ids.ts'
import { type Finished, ProgressWriter } from '../../../src/events/progress-writer.ts'
import { Queue } from '../../../src/events/queue.ts'
import { createLog } from '../../../src/ops/logger.ts'
import { eventually } from '../../support/eventually.ts'
import { insertDelivery } from '../../support/log-rows.ts'
import { openTestDatabase } from '../../support/opened-database.ts'

it('a workspace whose rows are locked waits alone, however many it has', async () => {
  const { database, sql, close } = await openTestDatabase()
  onTestFinished(close)
  const written: string[] = []
  /** A delivery that was delivered at its first attempt, and is not written yet. */
  const delivered = async (workspaceId: WorkspaceId): Promise<Finished & { readonly id: string }> => {
    const at = new Date()
    const id = await insertDelivery(sql, workspaceId, { status: 'pending', at })
    const end = { status: 'delivered', reason: null, attempts: 1, failures: 0, dueAt: null, attempt: null } as const
    const progress = { workspaceId, deliveryId: id, webhookId: 'wh_1', wasDueAt: at, at, ...end }
    return { id, progress, judged: null, written: () => void written.push(id) }
  }
  const queue = new Queue(database)
  const lines: unknown[] = []
  const log = createLog('debug', { write: (line) => void lines.push(JSON.parse(line)) })
  const writer = new ProgressWriter(database, queue, log)
  const [held, other] = [await delivered(newWorkspaceId()), await delivered(newWorkspaceId())]
  const release = Promise.withResolvers<void>()
  onTestFinished(() => release.resolve())
  const holding = sql.begin(async (tx) => {
    await tx`select 1 from deliveries where id = ${held.id} for update`
    await release.promise
  })
  // Each stands for another delivery of the workspace, more than two groups of them: one row that is locked keeps all.
  const heldCount = 1_200
  for (let added = 0; added < heldCount; added++) writer.add(held)
  writer.add(other)
  await eventually(() => written.includes(other.id), { timeoutMs: 20_000 })
  expect(written).toEqual([other.id])
  release.resolve()
  await holding
  await eventually(() => written.length === heldCount + 1, { timeoutMs: 20_000 })
  await writer.close(5000)
  expect(lines.length).toBeGreaterThan(0)
})
