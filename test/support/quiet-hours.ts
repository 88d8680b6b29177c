import { setTimeout as sleep } from 'node:timers/promises'

// A program: makes the heap grow and lets it be collected, then does nothing for a second and a half: what V8 takes for time to give memory back.
for (let round = 0; round < 30; round++) {
  const kept: unknown[] = []
  for (let at = 0; at < 50_000; at++) kept.push({ at, list: [at] })
  await sleep(5)
}
await sleep(1500)
