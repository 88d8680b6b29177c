import { setTimeout as delay } from 'node:timers/promises'
import { openClient } from '../src/storage/driver.ts'
import { figuresOf } from '../test/durability/figures.ts'

/**
 * `node bench/round-trip.ts <database URL>`: prints p50 of a `select 1`, ms, in a loop and 15 ms after the one before: the difference is what a machine takes to wake
 * up, at the database and here, whatever is asked.
 */
const sql = openClient(process.argv[2] ?? '', { max: 1 })

async function p50(count: number, pauseMs: number): Promise<number> {
  const took: number[] = []
  for (let call = 0; call < count; call++) {
    if (pauseMs > 0) await delay(pauseMs)
    const startedAt = performance.now()
    await sql.unsafe('select 1', [], { prepare: true })
    took.push(performance.now() - startedAt)
  }
  return figuresOf(took).p50
}

await p50(1000, 0)
console.log(JSON.stringify([await p50(2000, 0), await p50(300, 15)]))
await sql.end()
