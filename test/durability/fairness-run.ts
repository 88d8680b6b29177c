import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { createRig } from './rig.ts'

export interface FairnessReport {
  readonly waiting: number
  /** Of the webhook that has them: it takes requests and never answers, or answers at once. */
  readonly backlogged: 'hangs' | 'answers'
  readonly exchanges: number
  readonly told: number
  /** From the exchange to the observer's first attempt, ms. */
  readonly p50: number
  readonly p95: number
  readonly max: number
  /** Of those that waited, attempted meanwhile. */
  readonly attempted: number
}

/** Deliveries of one webhook wait by the thousand; another's new ones are timed. */
export async function fairnessRun(
  databaseUrl: string,
  waiting: number,
  backlogged: FairnessReport['backlogged'],
  seconds: number,
): Promise<FairnessReport> {
  let attempted = 0
  const arrived: number[] = []
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const isNew = request.url === '/new'
      if (isNew) arrived.push(Date.now() - Date.parse(String(request.headers['x-webhook-timestamp'])))
      else attempted++
      if (isNew || backlogged === 'answers') response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`
  const { rig, first } = await createRig(databaseUrl)
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined })
  try {
    await rig.addWebhook('Backlogged', url('/backlogged'))
    await rig.addWebhook('New', url('/new'))
    await fill(sql, waiting)
    // Its worst: all have just become due.
    await delay(1000)
    attempted = 0
    const ledger = await rig.load(20, seconds)
    for (const endsAt = Date.now() + 10_000; arrived.length < ledger.sent.size && Date.now() < endsAt; ) await delay(50)
    const sorted = arrived.toSorted((a, b) => a - b)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
    const figures = { p50: at(0.5), p95: at(0.95), max: at(1) }
    return { waiting, backlogged, exchanges: ledger.sent.size, told: arrived.length, attempted, ...figures }
  } finally {
    first.child.kill('SIGTERM')
    await first.ended()
    await sql.end()
    await rig.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

/** Deliveries with their alarms, in the place that they have after a webhook was away for long: more than the bound lets wait. */
async function fill(sql: postgres.Sql, waiting: number): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`
      create temporary table filled on commit drop as
      select w.workspace_id, w.id as webhook_id, gen_random_uuid() as event_id,
        (lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7' || substr(md5(i::text), 1, 3) || '8'
          || substr(md5(i::text), 4, 15))::uuid as id
      from webhooks w, generate_series(1, ${waiting}) i where w.name = 'Backlogged'`
    await tx`
      insert into deliveries (workspace_id, id, webhook_id, event_id, event, occurred_at, envelope, status, due_at, created_at, updated_at)
      select workspace_id, id, webhook_id, event_id, 'whatsapp.flows.init', now(), convert_to(repeat('x', 1000), 'UTF8'), 'pending',
        now(), now(), now()
      from filled`
    await tx`
      insert into relevo_queue.job (id, name, priority, data, group_id, start_after, created_on, keep_until, retry_limit, expire_seconds,
        heartbeat_seconds, policy)
      select f.id, q.name, -1, jsonb_build_object('workspaceId', f.workspace_id), f.webhook_id, now(), now(),
        now() + interval '30 days', q.retry_limit, q.expire_seconds, q.heartbeat_seconds, q.policy
      from filled f, relevo_queue.queue q where q.name = 'deliveries'`
  })
  await sql`analyze`
}

export function printFairness({
  waiting,
  backlogged,
  exchanges,
  told,
  attempted,
  p50,
  p95,
  max,
}: FairnessReport): void {
  console.log(`deliveries waiting        ${waiting} of a webhook that ${backlogged}, attempted meanwhile ${attempted}`)
  console.log(`another's new ones        ${exchanges}, told ${told}`)
  console.log(`first attempt p50, p95, max  ${p50}, ${p95}, ${max} ms`)
}
