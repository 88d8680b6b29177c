import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

it('V8 does not stop a process of Relevo to give memory back', () => {
  const program = fileURLToPath(new URL('../support/quiet-hours.ts', import.meta.url))
  const runtime = fileURLToPath(new URL('../../src/runtime.ts', import.meta.url))
  const flags = ['--trace-memory-reducer', '--gc-memory-reducer-start-delay-ms=100']
  const said = (...args: string[]) => execFileSync(process.execPath, [...flags, ...args, program]).toString()
  // Of another program it waits for its time.
  expect(said()).toContain('Memory reducer: waiting')
  const prepared = said('--import', runtime)
  // It had its turn, and gave up.
  expect(prepared).toContain('Memory reducer: ')
  expect(prepared).not.toContain('Memory reducer: waiting')
})
