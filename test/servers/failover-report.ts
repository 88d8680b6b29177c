import { type Comparison, compare, type MetaLedger } from '../durability/rig.ts'

/** What one failover did, from the promotion on. */
export interface FailoverReport extends Comparison {
  readonly ledger: MetaLedger
  /** Until the first row is in the promoted server's log, and until the spool is empty, ms. */
  readonly firstRowMs: number
  readonly caughtUpMs: number
  /** Until `/readyz` says 200, ms. */
  readonly readyMs: number
  readonly rowsLost: number
}

/** How long writing may take to go on after the promotion, ms. */
const recoveryMs = 10_000

export type Measured = Pick<FailoverReport, 'ledger' | 'firstRowMs' | 'caughtUpMs' | 'readyMs' | 'rowsLost'>

/** Compares what Meta saw with the log of the server that was promoted. */
export async function reportOf(promotedUrl: string, measured: Measured): Promise<FailoverReport> {
  return { ...measured, ...(await compare(promotedUrl, measured.ledger)) }
}

/** What was not as it should be. A relay that has too much to do may say so in a valid answer (`overloaded`); no other fallback may come. */
export function faultsOf(report: FailoverReport): string[] {
  const { sent, summary } = report.ledger
  const others = Object.keys(report.outcomes).filter((outcome) => outcome !== 'replied' && outcome !== 'overloaded')
  const faults: [string, boolean][] = [
    [`${report.lost} answered exchanges are not in the log`, report.lost > 0],
    [`${report.rowsLost} rows are counted as lost`, report.rowsLost > 0],
    [`${report.twice} exchanges are in the log twice`, report.twice > 0],
    [`${summary.wrong} answers are wrong`, summary.wrong > 0],
    [`${summary.lost} exchanges have no answer`, summary.lost > 0],
    [`other outcomes: ${others}`, others.length > 0],
    [`only ${summary.right} of ${sent.size} got the tenant's reply`, summary.right < sent.size / 2],
    [`the first row came after ${report.firstRowMs} ms`, report.firstRowMs > recoveryMs],
    [`/readyz was 200 after ${report.readyMs} ms`, report.readyMs > recoveryMs],
  ]
  return faults.flatMap(([fault, is]) => (is ? [fault] : []))
}

export function printFailover(what: string, report: FailoverReport): void {
  const { sent, answered, summary } = report.ledger
  console.log(`\n${what}`)
  console.log(
    `failover time             ${(report.firstRowMs / 1000).toFixed(2)} s from promotion to the first row written`,
  )
  console.log(
    `/readyz 200, spool empty  ${(report.readyMs / 1000).toFixed(2)} s, ${(report.caughtUpMs / 1000).toFixed(2)} s after it`,
  )
  console.log(`exchanges sent            ${sent.size}, answered with the tenant's reply ${answered.size}`)
  console.log(`rows lost                 ${report.lost + report.rowsLost} (in the log twice: ${report.twice})`)
  console.log(
    `answers wrong             ${summary.wrong} (none at all: ${summary.lost}, fallbacks: ${summary.fallback})`,
  )
  const { p50, p99, max } = summary.latency
  console.log(`latency p50, p99, max     ${p50.toFixed(1)}, ${p99.toFixed(1)}, ${max.toFixed(1)} ms`)
  for (const [problem, count] of summary.problems) console.log(`problem                   ${count} × ${problem}`)
}
