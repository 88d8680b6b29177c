import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { migrate } from '../../src/migrate.ts'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from '../support/embedded.ts'
import { eventually } from '../support/eventually.ts'
import { startProxy } from '../support/tcp-proxy.ts'
import { type Comparison, compare, createRig, type MetaLedger, type ToldOf, toldOf } from './rig.ts'

/** `fast` and `immediate` as pg_ctl means them; `stalled`: SIGSTOP to every process of the server. */
export type Ending = 'fast' | 'immediate' | 'stalled'

export interface DatabaseReport extends Comparison, ToldOf {
  readonly endings: readonly Ending[]
  readonly seconds: number
  readonly ledger: MetaLedger
  /** At the end of each. */
  readonly spooled: readonly number[]
  readonly rowsLost: number
  readonly exitCode: number | string | null
}

/** Takes a real PostgreSQL away for so long under load, in each way, gives it back, and compares what Meta saw with the log. */
export async function databaseRun(endings: readonly Ending[], seconds: number, rate: number): Promise<DatabaseReport> {
  const dataDir = await freshDataDir()
  const server = await startEmbedded({ dataDir })
  await migrate(server.url)
  const proxy = await startProxy(server.url)
  const { rig, first } = await createRig(proxy.url)
  try {
    const enough = new AbortController()
    const loading = rig.load(rate, 3600, enough.signal)
    const spooled: number[] = []
    let { url } = server
    const isDrained = async () => (await rig.metric('relevo_spool_rows')) === 0
    for (const ending of endings) {
      await delay(1500)
      const back = await takeAway(dataDir, ending, () => proxy.cut())
      await delay(seconds * 1000)
      spooled.push(await rig.metric('relevo_spool_rows'))
      url = (await back()) ?? url
      await proxy.restore(url)
      await eventually(isDrained, { timeoutMs: 30_000, everyMs: 50 })
    }
    enough.abort()
    const ledger = await loading
    const isWritten = async () => (await isDrained()) && (await rig.metric('relevo_recorder_rows_waiting')) === 0
    await eventually(isWritten, { timeoutMs: 30_000, everyMs: 50 })
    const rowsLost = await rig.metric('relevo_recorder_rows_lost_total')
    const told = await toldOf(rig, ledger, 60_000)
    first.child.kill('SIGTERM')
    const exitCode = await first.ended()
    return { endings, seconds, ledger, spooled, rowsLost, exitCode, ...told, ...(await compare(url, ledger)) }
  } finally {
    await rig.close()
    await proxy.close()
    await server.stop()
    await removeEmbedded(dataDir)
  }
}

/** Returns how to bring it back; that resolves with its URL where it changed. */
async function takeAway(
  dataDir: string,
  ending: Ending,
  cut: () => Promise<void>,
): Promise<() => Promise<string | null>> {
  const cluster = join(dataDir, 'postgresql')
  const pid = (await livePostmaster(cluster))?.pid ?? 0
  if (ending === 'stalled') {
    const processes = await serverProcesses(pid)
    for (const process_ of processes) process.kill(process_, 'SIGSTOP')
    return async () => {
      for (const process_ of processes) process.kill(process_, 'SIGCONT')
      return null
    }
  }
  process.kill(pid, ending === 'fast' ? 'SIGINT' : 'SIGQUIT')
  await cut()
  await eventually(async () => (await livePostmaster(cluster)) === undefined, { timeoutMs: 20_000 })
  return async () => {
    const restarted = await startEmbedded({ dataDir })
    return restarted.url
  }
}

async function serverProcesses(postmaster: number): Promise<number[]> {
  const { readFile } = await import('node:fs/promises')
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8')
  return [postmaster, ...children.trim().split(' ').filter(Boolean).map(Number)]
}

export function printDatabase({ endings, seconds, ledger, spooled, rowsLost, exitCode, ...log }: DatabaseReport): void {
  const { sent, answered, summary } = ledger
  const share = ((answered.size / sent.size) * 100).toFixed(2)
  console.log(`database ${endings.join(', ')} for ${seconds} s`)
  console.log(`exchanges sent            ${sent.size}, answered with the tenant's reply ${answered.size} (${share} %)`)
  console.log(
    `latency p50, p99, max     ${summary.latency.p50.toFixed(1)}, ${summary.latency.p99.toFixed(1)}, ${summary.latency.max.toFixed(1)} ms`,
  )
  console.log(`rows in the spool then    ${spooled.join(', ')}`)
  console.log(`rows in the log           ${log.rows} ${JSON.stringify(log.outcomes)}`)
  console.log(`answered and not logged   ${log.lost}; counted as lost ${rowsLost}`)
  console.log(`logged twice, never sent  ${log.twice}, ${log.unknown}`)
  console.log(`answered and not told     ${log.untold}; told again ${log.toldAgain}`)
  console.log(`exit code after SIGTERM   ${exitCode}`)
  for (const [problem, count] of summary.problems) console.log(`problem                   ${count} × ${problem}`)
}
