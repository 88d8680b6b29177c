import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const runtime = file('../../src/runtime.ts')
const run = (...args: string[]) => execFileSync(process.execPath, args).toString()

it('V8 marks at once in a process of Relevo, not in steps', () => {
  const said = (...args: string[]) =>
    run('--trace-gc', '--max-old-space-size=100', ...args, file('../support/growing-heap.ts'))
  expect(said()).toMatch(/Mark-Compact .* steps since start of marking/)
  const prepared = said('--import', runtime)
  expect(prepared).toContain('Mark-Compact')
  expect(prepared).not.toContain('steps since start of marking')
})

it('V8 does not stop a process of Relevo to give memory back', () => {
  const flags = ['--trace-memory-reducer', '--gc-memory-reducer-start-delay-ms=100']
  const said = (...args: string[]) => run(...flags, ...args, file('../support/quiet-hours.ts'))
  // Of another program it waits for its time.
  expect(said()).toContain('Memory reducer: waiting')
  const prepared = said('--import', runtime)
  // It had its turn, and gave up.
  expect(prepared).toContain('Memory reducer: ')
  expect(prepared).not.toContain('Memory reducer: waiting')
})
