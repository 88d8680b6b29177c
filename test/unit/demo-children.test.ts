import { afterEach, describe, expect, test } from 'vitest'
import { type Children, createChildren } from '../../src/demo/children.ts'

const listen = 'console.log("listening on http://127.0.0.1:1/ for a test"); setInterval(() => {}, 1000);'
const ended: Children[] = []

function children(signal = new AbortController().signal): Children {
  const made = createChildren(process.cwd(), signal)
  ended.push(made)
  return made
}

afterEach(() => Promise.all(ended.splice(0).map((made) => made.stop())))

describe('processes of the demo', () => {
  test('start resolves with the printed URL, and the environment is the given one alone', async () => {
    const made = children()
    const script = `console.log(process.env.PORT, process.env.PATH); ${listen}`
    expect(await made.start('relevo', ['-e', script], { PORT: '0' })).toBe('http://127.0.0.1:1/')
    expect(made.lastLines()[0]).toBe('relevo: 0 undefined')
  })

  test('one that ends first is a named failure, with what it printed, on both streams', async () => {
    const made = children()
    const script = 'console.error("PORT is wrong"); process.exitCode = 1'
    await expect(made.start('relevo', ['-e', script], {})).rejects.toThrow('relevo ended with 1 before it listened')
    expect(made.lastLines()).toEqual(['relevo: PORT is wrong'])
    expect(await made.stop()).toEqual([])
  })

  test('an aborted signal ends the wait with its reason', async () => {
    const stop = new AbortController()
    const waiting = children(stop.signal).start('tenant', ['-e', 'setInterval(() => {}, 1000)'], {})
    stop.abort(new Error('interrupted'))
    await expect(waiting).rejects.toThrow('interrupted')
  })

  test('Relevo must exit 0 after SIGTERM; a tenant may die of it', async () => {
    const graceful = children()
    await graceful.start('relevo', ['-e', `process.on("SIGTERM", () => process.exit(0)); ${listen}`], {})
    await graceful.start('tenant', ['-e', listen], {})
    expect(await graceful.stop()).toEqual([])
    const abrupt = children()
    await abrupt.start('relevo', ['-e', `process.on("SIGTERM", () => process.exit(3)); ${listen}`], {})
    expect(await abrupt.stop()).toEqual(['relevo ended with 3 instead of 0'])
  })
})
