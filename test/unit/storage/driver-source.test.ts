import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { mendDriverSource } from '../../../src/storage/driver-source.ts'

const driver = new URL('../../../node_modules/postgres/src/', import.meta.url)
const sourceOf = (file: string) => readFileSync(new URL(file, driver), 'utf8')
/** How often a function is the value of an assignment to a property. */
const assigned = (source: string) => source.match(/[\w\]] = (async ?)?(\([^()]*\)|\w+) =>/g)?.length ?? 0

describe('the driver’s source', () => {
  it.each([
    ['query.js', 2],
    ['index.js', 3],
  ])('%s: the functions of each statement are named first', (file, mended) => {
    const before = sourceOf(file)
    const after = mendDriverSource(file, before)
    const properties = (source: string) => source.match(/(\.\w+|\]) = (\([^()]*\)|\w+) =>/g)?.length ?? 0
    expect(properties(before) - properties(after)).toBe(mended)
    expect(assigned(after)).toBe(assigned(before))
  })

  it('is left alone where it is not as expected', () => {
    expect(mendDriverSource('query.js', 'something else')).toBe('something else')
    expect(mendDriverSource('bytes.js', sourceOf('bytes.js'))).toBe(sourceOf('bytes.js'))
  })

  it('is mended before the commands load it: all that src/cli.ts imports at once is runtime.ts', () => {
    const cli = readFileSync(new URL('../../../src/cli.ts', import.meta.url), 'utf8')
    expect([...cli.matchAll(/^import\b.*'(.+)'/gm)].map(([, file]) => file)).toEqual(['./runtime.ts'])
  })

  it('is mended in a process of Relevo: a young collection frees what statements had', () => {
    const statements = fileURLToPath(new URL('../../support/young-statements.ts', import.meta.url))
    const runtime = fileURLToPath(new URL('../../../src/runtime.ts', import.meta.url))
    const keptMB = (...args: string[]) => Number(execFileSync(process.execPath, ['--expose-gc', ...args, statements]))
    expect(keptMB('--import', runtime)).toBeLessThan(2)
    expect(keptMB()).toBeGreaterThan(5)
  })
})
