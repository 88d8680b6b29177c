import type { Report } from './run.ts'

const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
const counts = (pairs: Report['endings']) => pairs.map(([what, count]) => `${what}: ${count}`).join(', ')

export function printReport(report: Report): void {
  const { target, cases, seeds, endings, outcomes, slowest, perSecond, heap, unhandled, stalls, findings } = report
  console.log(`${target}`)
  console.log(
    `  cases      ${cases}, ${perSecond.toFixed(0)}/s, slowest ${slowest.ms.toFixed(0)} ms (${slowest.ending}), seed ${seeds.join(' and ')}`,
  )
  console.log(`  endings    ${counts(endings)}`)
  if (outcomes.length > 0) console.log(`  outcomes   ${counts(outcomes)}`)
  console.log(`  heap       ${mb(heap.before)} warm, ${mb(heap.after)} at the end, may grow by ${mb(heap.mayGrow)}`)
  console.log(`  unhandled  ${unhandled}`)
  if (stalls > 0) console.log(`  stalls     ${stalls}: the machine had no time for the database`)
  for (const { what, again, input } of findings) {
    console.log(`  FINDING    ${what}`)
    if (again !== null) console.log(`    again    npm run fuzz -- ${again}`)
    if (input !== null) console.log(`    input    ${input}`)
  }
}
