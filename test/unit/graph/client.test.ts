import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Graph, GraphCall } from '../../../src/graph/client.ts'
import { answerWith, type FakeGraph, refuse, startGraph } from '../../support/graph.ts'
import { connectGraph } from '../../support/graph-client.ts'
import { type FakeTenant, startHangingPort, startTenant } from '../../support/tenant.ts'
import { hangUp, html, huge, redirect, reset, silence, text, truncated } from '../../support/tenant-behaviours.ts'

const accessToken = 'EAAtoken-7d1c'
const read: GraphCall = { method: 'GET', path: ['10', 'subscribed'], accessToken }

let fake: FakeGraph
let server: FakeTenant
let graph: Graph
/** The same client against a server that does what a test tells it. */
let odd: Graph

beforeAll(async () => {
  fake = await startGraph()
  fake.model.addWaba('10', accessToken)
  graph = connectGraph(fake.url)
  server = await startTenant()
  odd = connectGraph(new URL(server.url).origin, { timeoutMs: 300 })
})
afterEach(() => {
  fake.assertNoSurprises()
  server.assertNoSurprises()
})
afterAll(async () => {
  await Promise.all([graph.close(), odd.close()])
  await Promise.all([fake.close(), server.close()])
})

describe('a call', () => {
  it('names version and path, escapes both, and carries the token in its header alone', async () => {
    server.next(text('{"ok":1}'))
    const query = { fields: 'preview.invalidate(false)', after: 'a+b=' }
    const result = await odd.call({ ...read, path: ['a/b', 'c'], query })
    expect(result).toEqual({ ok: true, value: { ok: 1 } })
    const [call] = server.received.slice(-1)
    expect(call?.path).toBe('/v25.0/a%2Fb/c?fields=preview.invalidate%28false%29&after=a%2Bb%3D')
    expect(call?.headers.authorization).toBe(`Bearer ${accessToken}`)
    expect(call?.headers['content-type']).toBeUndefined()
    expect(call?.rawBody).toHaveLength(0)
  })

  it('keeps the path of the base URL', async () => {
    server.next(text('{}'))
    const below = connectGraph(`${new URL(server.url).origin}/base/`)
    expect((await below.call({ ...read, path: ['1'] })).ok).toBe(true)
    expect(server.received.at(-1)?.path).toBe('/base/v25.0/1')
    await below.close()
  })

  it('sends its body as JSON', async () => {
    server.next(text('{}'))
    await odd.call({ method: 'POST', path: ['1'], body: { text: 'ñ' }, accessToken })
    const [call] = server.received.slice(-1)
    expect(call?.headers['content-type']).toBe('application/json')
    expect(call?.rawBody.toString()).toBe('{"text":"ñ"}')
  })

  it('without a body has none', async () => {
    server.next(text('{}'))
    await odd.call({ method: 'POST', path: ['1'], accessToken })
    expect(server.received.at(-1)?.headers).toMatchObject({ 'content-length': '0' })
    expect(server.received.at(-1)?.headers['content-type']).toBeUndefined()
  })

  it('with a token that cannot be a header goes nowhere', async () => {
    const result = await odd.call({ ...read, accessToken: 'a\r\nb' })
    expect(result).toMatchObject({ ok: false, problem: { kind: 'unreachable', mayHaveHappened: false } })
  })
})

describe("Meta's refusal", () => {
  const problemOf = async (code: number, more?: Parameters<typeof refuse>[1]) => {
    fake.next('GET /:id', refuse(code, more))
    const result = await graph.call({ method: 'GET', path: ['10'], query: { fields: 'id' }, accessToken })
    if (result.ok) throw new Error('it was accepted')
    return result.problem
  }

  it('is told by code and trace, never in the words of Meta, which repeat what was sent', async () => {
    const problem = await problemOf(131009, { subcode: 2494010 })
    expect(problem).toEqual({
      kind: 'graph_error',
      title: 'a parameter has a value that Meta does not accept',
      metaCode: 131009,
      metaSubcode: 2494010,
      httpStatus: 400,
      traceId: 'AtRaCe-1_x',
      retryable: false,
      mayHaveHappened: false,
    })
    expect(JSON.stringify(problem)).not.toContain(accessToken)
  })

  // protocol.md 4.5
  it.each([1, 2, 4, 17, 32, 613, 80007, 80008, 130429, 131048, 131056, 132069])(
    '%i may be tried again',
    async (code) => {
      expect(await problemOf(code)).toMatchObject({ metaCode: code, retryable: true })
    },
  )

  it.each([10, 100, 190, 200, 299, 368, 131008, 131009, 131026, 131047, 132068, 139000, 139001, 139002, 77])(
    '%i may not',
    async (code) => {
      const problem = await problemOf(code)
      expect(problem).toMatchObject({ metaCode: code, retryable: false })
      expect(problem.title).not.toBe('')
    },
  )

  it('may be tried again where Meta says that it passes, or gives a status that does', async () => {
    expect(await problemOf(77, { transient: true })).toMatchObject({ retryable: true })
    expect(await problemOf(77, { status: 500 })).toMatchObject({ retryable: true, httpStatus: 500 })
    expect(await problemOf(77, { status: 429 })).toMatchObject({ retryable: true })
  })

  it('counts with a good status too', async () => {
    expect(await problemOf(100, { status: 200 })).toMatchObject({ kind: 'graph_error', metaCode: 100 })
  })

  it('without a readable code or trace is one all the same', async () => {
    fake.next('GET /:id', answerWith({ error: { code: '1', fbtrace_id: 'a b' } }, 400))
    const result = await graph.call({ method: 'GET', path: ['10'], query: { fields: 'id' }, accessToken })
    expect(result).toMatchObject({ ok: false, problem: { kind: 'graph_error', metaCode: null, traceId: null } })
  })
})

describe('no answer of Graph', () => {
  const after = async (...behaviours: Parameters<FakeTenant['next']>) => {
    server.next(...behaviours)
    const result = await odd.call(read)
    if (result.ok) throw new Error('it was accepted')
    return result.problem
  }

  it.each([
    ['silence', silence(), { kind: 'timeout', retryable: true, mayHaveHappened: true }],
    ['a reset', reset(), { kind: 'connection_lost', retryable: true, mayHaveHappened: true }],
    ['a hang-up', hangUp(), { kind: 'connection_lost', mayHaveHappened: true }],
    ['a truncated body', truncated(), { kind: 'connection_lost', mayHaveHappened: true }],
    ['a page', html(), { kind: 'unreadable', httpStatus: 200, retryable: false, mayHaveHappened: true }],
    ["a proxy's page", html(502), { kind: 'unreadable', httpStatus: 502, retryable: true, mayHaveHappened: true }],
    ['a 404 page', html(404), { kind: 'unreadable', httpStatus: 404, retryable: false, mayHaveHappened: false }],
    ['a list', text('[1]'), { kind: 'unreadable' }],
    ['nothing', text(''), { kind: 'unreadable' }],
    ['bytes that are not UTF-8', text(Buffer.from([0x7b, 0xff, 0x7d])), { kind: 'unreadable' }],
    ['JSON nested too deep', text(`{"a":${'['.repeat(300)}${']'.repeat(300)}}`), { kind: 'unreadable' }],
    ['an object with a bad status', text('{}', 400), { kind: 'unreadable', httpStatus: 400 }],
    ['a redirect, which is not followed', redirect('/elsewhere'), { kind: 'unreadable', httpStatus: 302 }],
    ['too much, announced', huge(5_000_000), { kind: 'unreadable' }],
    ['too much, in pieces', huge(5_000_000, { chunked: true }), { kind: 'unreadable' }],
  ])('%s', async (_name, behaviour, expected) => {
    const called = server.received.length
    expect(await after(behaviour)).toMatchObject({ metaCode: null, ...expected })
    expect(server.received.length).toBe(called + 1)
  })

  it('where nobody listens, and nothing was sent', async () => {
    const away = connectGraph('http://127.0.0.1:1')
    expect(await away.call(read)).toMatchObject({
      ok: false,
      problem: { kind: 'unreachable', retryable: true, mayHaveHappened: false },
    })
    await away.close()
  })

  it('where the connection hangs, and nothing was sent', async () => {
    const hanging = await startHangingPort()
    const away = connectGraph(`http://127.0.0.1:${hanging.port}`, { timeoutMs: 200 })
    expect(await away.call(read)).toMatchObject({ problem: { kind: 'timeout', mayHaveHappened: false } })
    await away.close()
    await hanging.close()
  })
})

describe('a download', () => {
  it('asks without a token, and takes any object', async () => {
    server.next(text('{"error":{"code":1}}'))
    expect(await odd.download(`${new URL(server.url).origin}/asset?oh=1`)).toEqual({
      ok: true,
      value: { error: { code: 1 } },
    })
    const [call] = server.received.slice(-1)
    expect(call?.method).toBe('GET')
    expect(call?.path).toBe('/asset?oh=1')
    expect(call?.headers.authorization).toBeUndefined()
  })

  it('takes an object of 200,000 values, and none of more: a tenant may have made it', async () => {
    const withItems = (count: number) => text(`{"a":[${'[],'.repeat(count - 1)}0]}`)
    server.next(withItems(100_000), withItems(100_001))
    const most = await graph.download(server.url)
    expect(most.ok && most.value).toHaveProperty('a.length', 100_000)
    expect(await graph.download(server.url)).toMatchObject({ ok: false, problem: { kind: 'unreadable' } })
  })

  it('goes past the address guard, which the base URL does not', async () => {
    const guarded = connectGraph(fake.url, { allowedNetworks: [] })
    const called = server.received.length
    for (const url of [
      server.url,
      'http://169.254.169.254/latest/meta-data',
      'http://[::1]:8080/',
      'file:///etc/passwd',
      'x',
      '',
    ]) {
      expect(await guarded.download(url)).toMatchObject({
        ok: false,
        problem: { kind: 'address_blocked', retryable: false, mayHaveHappened: false },
      })
    }
    expect(server.received.length).toBe(called)
    expect((await guarded.call({ method: 'GET', path: ['10'], query: { fields: 'id' }, accessToken })).ok).toBe(true)
    await guarded.close()
  })

  it('goes nowhere with a user name, on a port of others or over what is no HTTP, also where the address is exempt', async () => {
    const called = server.received.length
    const { host } = new URL(server.url)
    for (const url of [`http://user:password@${host}/`, 'http://127.0.0.1:22/', `ftp://${host}/`, `ws://${host}/`]) {
      expect(await odd.download(url)).toMatchObject({ problem: { kind: 'address_blocked', mayHaveHappened: false } })
    }
    expect(server.received.length).toBe(called)
  })

  it('follows no redirect', async () => {
    server.next(redirect('http://169.254.169.254/'))
    expect(await odd.download(server.url)).toMatchObject({
      ok: false,
      problem: { kind: 'unreadable', httpStatus: 302 },
    })
  })

  it('takes the largest Flow JSON, and no more', async () => {
    const roomy = connectGraph(fake.url)
    server.next(text(JSON.stringify({ filler: 'x'.repeat(10 * 1024 * 1024 - 100) })), huge(10 * 1024 * 1024 + 1))
    expect((await roomy.download(server.url)).ok).toBe(true)
    expect(await roomy.download(server.url)).toMatchObject({ ok: false, problem: { kind: 'unreadable' } })
    await roomy.close()
  })
})
