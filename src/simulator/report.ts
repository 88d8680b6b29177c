import type { LoadSummary } from './load.ts'

/** A table as lines: a header, a rule, the rows. Columns in `right` are set to the right. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string[] {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => (row[column] ?? '').length)))
  const line = (cells: readonly string[]) =>
    widths
      .map((width, column) => pad(cells[column] ?? '', width, right.includes(header[column] ?? '')))
      .join('  ')
      .trimEnd()
  return [line(header), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)]
}

function pad(cell: string, width: number, toTheRight: boolean): string {
  return toTheRight ? cell.padStart(width) : cell.padEnd(width)
}

/** Milliseconds with one decimal: `12.3`. */
export function formatMilliseconds(milliseconds: number): string {
  return milliseconds.toFixed(1)
}

/** A load run as lines: counts, latencies, and each kind of problem with how often it was seen. */
export function formatLoad(summary: LoadSummary): string[] {
  const { sent, right, wrong, fallback, lost, notSent, latency } = summary
  const lines = [
    ...formatTable(
      ['planned', 'sent', 'right', 'wrong', 'fallback', 'lost', 'not sent'],
      [[summary.planned, sent, right, wrong, fallback, lost, notSent].map(String)],
    ),
    '',
    ...formatTable(
      ['latency ms', 'p50', 'p90', 'p99', 'max'],
      [
        ['', latency.p50, latency.p90, latency.p99, latency.max].map((cell) =>
          typeof cell === 'string' ? cell : formatMilliseconds(cell),
        ),
      ],
      ['p50', 'p90', 'p99', 'max'],
    ),
    '',
    `${summary.seconds.toFixed(1)} s, ${(sent / Math.max(summary.seconds, 0.001)).toFixed(1)} exchanges a second; ` +
      `the simulator was at most ${formatMilliseconds(summary.lagMs)} ms behind the clock`,
  ]
  const problems = [...summary.problems].sort(([, a], [, b]) => b - a)
  for (const [problem, count] of problems.slice(0, 10)) lines.push(`${count} × ${problem}`)
  if (problems.length > 10) lines.push(`and ${problems.length - 10} other kinds of problem`)
  return lines
}
