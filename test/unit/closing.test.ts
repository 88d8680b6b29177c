import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const from = (file: string) => JSON.stringify(new URL(`../../src/${file}`, import.meta.url).href)

const NODE_COMPILE_CACHE = fileURLToPath(new URL('../../node_modules/.cache/node', import.meta.url))

/** What a process says that ends in order, and its exit code. `close` and `meanwhile` are code. */
function endOf(close: string, meanwhile = '', withinMs = 20_000): Promise<{ code: unknown; said: string }> {
  const script = `
    import { endInOrder } from ${from('closing.ts')}
    import { EndedBadly } from ${from('end-signals.ts')}
    const closing = endInOrder(console.log, async () => { ${close} }, ${withinMs})
    closing.close()
    closing.close()
    ${meanwhile}`
  return new Promise((done) => {
    execFile(
      process.execPath,
      ['--input-type=module', '-e', script],
      { env: { NODE_COMPILE_CACHE } },
      (error, stdout) => done({ code: error?.code ?? 0, said: stdout }),
    )
  })
}

it.each([
  [
    'what closes says what is wrong',
    "throw new EndedBadly('1 did not end well')",
    '',
    1,
    /^not stopped in order: 1 did not end well\n$/,
  ],
  [
    'what closes fails inside',
    "throw new TypeError('a-value')",
    '',
    1,
    /^not stopped in order: \{"name":"TypeError",.*\n$/,
  ],
  [
    'an error comes meanwhile',
    'await new Promise(() => undefined)',
    "setImmediate(() => { throw new RangeError('a-value') })",
    1,
    /^ended by an uncaught error while stopping: \{"name":"RangeError".*\n$/,
  ],
])('an end where %s: its exit code, and at most one line, without values', async (_, close, meanwhile, code, line) => {
  expect(await endOf(close, meanwhile)).toEqual({ code, said: expect.stringMatching(line) })
})

it('an end that does not come is cut, and told of', async () => {
  const said = 'not stopped within 10 ms: ended as it is\n'
  expect(await endOf('await new Promise(() => undefined)', '', 10)).toEqual({ code: 1, said })
})
