import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { createRig } from './rig.ts'

export interface EventsReport {
  readonly exchanges: number
  /** Deliveries that the webhooks which live should get. */
  readonly expected: number
  readonly arrived: number
  /** Arrived, and not with a right signature. */
  readonly forged: number
  /** Times that one arrived once more. */
  readonly again: number
  /** From the envelope's timestamp to its arrival, ms. */
  readonly p50: number
  readonly p95: number
  readonly max: number
  readonly seconds: number
  /** CPU of the relay for each event, its share of the exchanges included, ms. */
  readonly cpuMsPerEvent: number
}

/**
 * `rate` events a second into 100 webhooks, one of which hangs: each exchange is told to all of them. Every event is verified where it
 * arrives.
 */
export async function eventsRun(databaseUrl: string, rate: number, seconds: number): Promise<EventsReport> {
  const webhooks = 100
  const receiver = await startReceiver()
  const { rig, first } = await createRig(databaseUrl)
  try {
    for (let at = 0; at < webhooks; at++) await receiver.add(at, rig)
    const cpuBefore = await rig.metric('process_cpu_seconds_total')
    const ledger = await rig.load(rate / webhooks, seconds)
    const living = [...ledger.sent].length * (webhooks - 1)
    for (const endsAt = Date.now() + 30_000; receiver.arrived.size < living && Date.now() < endsAt; ) await delay(50)
    const cpuMs = ((await rig.metric('process_cpu_seconds_total')) - cpuBefore) * 1000
    const waits = [...receiver.arrived.values()].sort((a, b) => a - b)
    const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? Number.NaN
    return {
      exchanges: ledger.sent.size,
      expected: living,
      arrived: receiver.arrived.size,
      forged: receiver.forged(),
      again: receiver.again(),
      p50: at(0.5),
      p95: at(0.95),
      max: at(1),
      seconds: ledger.summary.seconds,
      cpuMsPerEvent: cpuMs / (ledger.sent.size * webhooks),
    }
  } finally {
    first.child.kill('SIGTERM')
    await first.ended()
    await rig.close()
    await receiver.close()
  }
}

/** 100 webhooks on one port, told apart by their paths; the first takes every request and never answers. */
async function startReceiver() {
  const secrets = new Map<string, string>()
  const arrived = new Map<string, number>()
  let [forged, again] = [0, 0]
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const path = request.url ?? ''
      if (path === '/events/0') return
      const body = Buffer.concat(chunks)
      const signature = `sha256=${createHmac('sha256', secrets.get(path) ?? '')
        .update(body)
        .digest('hex')}`
      if (request.headers['x-webhook-signature'] !== signature) forged++
      const name = `${path} ${request.headers['webhook-id']}`
      if (arrived.has(name)) again++
      else arrived.set(name, Date.now() - Date.parse(String(request.headers['x-webhook-timestamp'])))
      response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    arrived,
    forged: () => forged,
    again: () => again,
    async add(at: number, rig: { addWebhook(name: string, url: string): Promise<string> }) {
      const path = `/events/${at}`
      secrets.set(path, await rig.addWebhook(`Told ${at}`, `http://127.0.0.1:${port}${path}`))
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export function printEvents(report: EventsReport): void {
  const share = (report.again / report.expected) * 100
  console.log(
    `exchanges sent            ${report.exchanges} in ${report.seconds.toFixed(1)} s, each told to 100 webhooks, one of which hangs`,
  )
  console.log(`events of the other 99    ${report.expected}, arrived ${report.arrived}, not verified ${report.forged}`)
  console.log(`arrived once more         ${report.again} (${share.toFixed(3)} %)`)
  console.log(`end to end p50, p95, max  ${report.p50}, ${report.p95}, ${report.max} ms`)
  console.log(`CPU of the relay          ${report.cpuMsPerEvent.toFixed(3)} ms an event`)
}
