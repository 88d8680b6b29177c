import { expect, it } from 'vitest'
import { UnwrittenTokens } from '../../../src/relay/unwritten.ts'

it('knows of every token whose rows are on their way, however many came and went before', async () => {
  const tokens = new UnwrittenTokens()
  const names = Array.from({ length: 2000 }, (_, at) => `token ${at}`)
  const written: Promise<void>[] = []
  for (const [at, name] of names.entries()) {
    tokens.add(name)
    written.push(tokens.written(name) ?? Promise.reject(new Error(`${name} is not known`)))
    // The last hundred are on their way at any time.
    if (at >= 100) tokens.settle(names[at - 100] ?? null)
  }
  expect(names.filter((name) => tokens.written(name) !== undefined)).toEqual(names.slice(-100))
  for (const name of names.slice(-100)) tokens.settle(name)
  await Promise.all(written)
  expect(names.filter((name) => tokens.written(name) !== undefined)).toEqual([])
})
