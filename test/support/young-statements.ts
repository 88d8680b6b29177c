import { setImmediate } from 'node:timers/promises'
import postgres from 'postgres'

// A program: prints the MB that are left after a young collection of 1,000 statements with 32 kB each, answered at once without a server.
declare const gc: (options: { type: 'minor' }) => void
interface Statement extends Promise<unknown> {
  resolve(rows: unknown): void
}
type Make = new (
  strings: readonly string[],
  values: readonly unknown[],
  handler: (statement: Statement) => void,
) => Statement
const Statement = postgres({ max: 1 }).unsafe('select 1').constructor as Make
const ask = () => new Statement(['select $1'], Array.from({ length: 4096 }, Math.random), (asked) => asked.resolve([]))
for (let at = 0; at < 100; at++) await ask()
const before = process.memoryUsage().heapUsed
for (let at = 0; at < 1000; at++) {
  await ask()
  await setImmediate()
}
for (let at = 0; at < 3; at++) gc({ type: 'minor' })
process.stdout.write(String((process.memoryUsage().heapUsed - before) / 1e6))
