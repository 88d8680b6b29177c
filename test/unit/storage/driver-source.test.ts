import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
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

  describe('the queue', () => {
    /** Its places too, taken or not. */
    interface Queue {
      readonly length: number
      readonly places: number
      push(x: object): void
      shift(): object | undefined
      remove(x: object): object | null
    }
    const queueOf = async (source: string) => {
      const shown = source.replace('return {', 'return { get places() { return xs.length },')
      const { default: Queue } = await import(`data:text/javascript,${encodeURIComponent(shown)}`)
      return Queue as () => Queue
    }

    it('gives up places that were taken, while a connection stays free', async () => {
      const turn = (queue: Queue) => {
        const [first, second] = [{}, {}]
        queue.push(first)
        queue.push(second)
        for (let statement = 0; statement < 10_000; statement++) queue.push(queue.shift() as object)
        return queue.places
      }
      const [asItIs, mended] = [sourceOf('queue.js'), mendDriverSource('queue.js', sourceOf('queue.js'))]
      expect(turn((await queueOf(asItIs))())).toBeGreaterThan(10_000)
      expect(turn((await queueOf(mended))())).toBeLessThan(70)
    })

    it('hands out in order what was put in and not taken back', async () => {
      const Queue = await queueOf(mendDriverSource('queue.js', sourceOf('queue.js')))
      const step = fc.oneof(
        { weight: 5, arbitrary: fc.constant('push' as const) },
        { weight: 4, arbitrary: fc.constant('shift' as const) },
        { weight: 1, arbitrary: fc.nat({ max: 50 }) },
      )
      fc.assert(
        fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
          const [queue, model] = [Queue(), [] as object[]]
          for (const step of steps) {
            if (step === 'push') {
              const x = {}
              queue.push(x)
              model.push(x)
            } else if (step === 'shift') {
              // The driver asks for the length first.
              if (model.length > 0) expect(queue.shift()).toBe(model.shift())
            } else {
              const x = model[step] ?? {}
              expect(queue.remove(x)).toBe(model.includes(x) ? x : null)
              if (model.includes(x)) model.splice(step, 1)
            }
            expect(queue.length).toBe(model.length)
          }
        }),
      )
    })
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
    // With so much old space no other collection runs of itself: it would free them all.
    const flags = ['--expose-gc', '--initial-old-space-size=512']
    const keptMB = (...args: string[]) => Number(execFileSync(process.execPath, [...flags, ...args, statements]))
    expect(keptMB('--import', runtime)).toBeLessThan(2)
    expect(keptMB()).toBeGreaterThan(20)
  })
})
