import { rsaCpuMs } from './cpu.ts'
import { at, type RunningRelevo, withRelevo } from './running-relevo.ts'

/**
 * One exchange after the other. Prints the added latency (total less webhook time, by the rows' own clocks)
 * and the CPU that the relay's process spent, beside the CPU of one RSA-2048 OAEP decryption measured in the same run.
 */
const [warmUp, measured] = [500, 3000]

/** Bounds of the histogram, ms: for an answer that an instant webhook gave, 2 ms are allowed at p50. */
const waitMs = [0.5, 1, 2, 5, 10]

await withRelevo(async (relevo) => {
  await relevo.play(warmUp)
  const before = await relevo.cpuMs()
  await relevo.play(measured)
  const spent = ((await relevo.cpuMs()) - before) / measured
  const added = await addedLatencies(relevo)
  const waits = await Promise.all(waitMs.map(async (ms) => [ms, await waited(relevo, ms)] as const))
  const rsa = rsaCpuMs()
  console.log(`exchanges                 ${measured}, one at a time`)
  console.log(`added latency p50         ${at(added, 0.5).toFixed(2)} ms`)
  console.log(`added latency p99         ${at(added, 0.99).toFixed(2)} ms   (of the last ${added.length})`)
  for (const [ms, share] of waits) {
    console.log(
      `answers held up to ${ms} ms${' '.repeat(5 - String(ms).length)} ${(share * 100).toFixed(1)} % by their row's way to the disk`,
    )
  }
  console.log(`CPU per exchange          ${spent.toFixed(3)} ms`)
  console.log(`CPU of one RSA decryption ${rsa.toFixed(3)} ms`)
  console.log(`ratio rsa=${(spent / rsa).toFixed(2)}`)
})

async function waited({ metric }: RunningRelevo, ms: number): Promise<number> {
  const name = 'relevo_recorder_answer_wait_seconds'
  return (await metric(`${name}_bucket{le="${ms / 1000}"}`)) / (await metric(`${name}_count`))
}

interface Page {
  readonly data: { durationMs: number; webhookMs: number }[]
  readonly nextCursor: string | null
}

async function addedLatencies({ api }: RunningRelevo): Promise<number[]> {
  const added: number[] = []
  let cursor = ''
  while (added.length < 1000) {
    const page = (await api('GET', `/v1/exchanges?limit=100&outcome=replied${cursor}`)) as unknown as Page
    for (const { durationMs, webhookMs } of page.data) added.push(durationMs - webhookMs)
    if (page.nextCursor === null) break
    cursor = `&cursor=${page.nextCursor}`
  }
  return added
}
