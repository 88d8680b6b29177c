import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { delayed, reply } from '../support/tenant-behaviours.ts'

const exchange = { action: 'data_exchange', screen: 'A', data: {}, flow_token: 'hostile', version: '3.0' }
const bounds = { headMs: 400, requestMs: 800, lookEveryMs: 50, connections: 30, pipelined: 8 }

/** Senders that take their time, and requests that two servers could read as two different ones. After each a valid exchange is served. */
describe('hostile HTTP', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant

  beforeAll(async () => {
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' }, { bounds })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterEach(async () => {
    const call = account.meta.seal(exchange)
    const answer = await talk([
      headOf(call.body.length, [`x-hub-signature-256: ${call.signature}`, 'connection: close']),
      call.body,
    ])
    expect(statuses(answer)).toEqual([200])
  })
  afterAll(async () => {
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
    expect(relevo.logs.filter(({ msg }) => String(msg).includes('failed inside'))).toEqual([])
  })

  describe('slow senders are cut off', () => {
    it('a connection that never says anything', async () => {
      expect(statuses(await talk([]))).toEqual([408])
    })

    it('a head that comes byte by byte', async () => {
      const dripped = await drip(headOf(10, []), 20)
      expect(statuses(dripped)).toEqual([408])
    })

    it('a body that comes byte by byte', async () => {
      expect(statuses(await drip('x'.repeat(2000), 20, headOf(2000, [])))).toEqual([408])
    })

    it('a body that is announced longer than it is', async () => {
      const { body, signature } = account.meta.seal(exchange)
      const before = tenant.received.length
      expect(statuses(await talk([headOf(body.length + 1, [`x-hub-signature-256: ${signature}`]), body]))).toEqual([
        408,
      ])
      expect(tenant.received.length).toBe(before)
    })

    it('a half-open connection, its body never ended', async () => {
      const socket = await open()
      socket.write(headOf(100, []))
      socket.end('half')
      expect(statuses(await received(socket))).toEqual([400])
    })

    it('more connections than there may be: new ones are refused, and taken again once the others are cut', async () => {
      const idle = await Promise.all(Array.from({ length: bounds.connections + 200 }, () => open()))
      const all = Promise.all(idle.map((socket) => received(socket)))
      const answers = await all
      const refused = answers.filter((answer) => answer === '').length
      expect(refused).toBeGreaterThanOrEqual(20)
      expect(await metric('relevo_connections_refused_total')).toBeGreaterThanOrEqual(20)
    })
  })

  const chunk = `4000\r\n${'a'.repeat(0x4000)}\r\n`
  const openChunked = async () => {
    const socket = await open()
    const { pathname } = new URL(account.endpointUri)
    socket.write(`POST ${pathname} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`)
    return socket
  }

  it('chunks past the limit of 1 MiB are refused', async () => {
    const socket = await openChunked()
    socket.write(`${chunk.repeat(65)}0\r\n\r\n`)
    expect(statuses(await received(socket))).toEqual([413])
  })

  it('chunks without end are cut off', async () => {
    const socket = await openChunked()
    let sent = 0
    const write = () => {
      while (!socket.destroyed && socket.writable && sent < 64 * 1024 * 1024) {
        sent += chunk.length
        if (!socket.write(chunk)) return void socket.once('drain', write)
      }
    }
    write()
    // Its answer may be lost: the system has taken up to 32 MB that nobody reads any more (tcp_rmem of Linux 6.18), and says so by a reset.
    await received(socket)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  const post = (more: string, version = '1.1') => `POST /api/whatsapp/flows/1/data HTTP/${version}\r\n${more}`
  /** Each with a second request hidden in it: whoever reads it as two answers twice. */
  const smuggled = 'GET /livez HTTP/1.1\r\nhost: x\r\n\r\n'
  const shapes: [string, string][] = [
    [
      'a length and chunks',
      post(`host: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`),
    ],
    [
      'chunks and a length',
      post(`host: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n${smuggled}`),
    ],
    ['two lengths', post(`host: x\r\ncontent-length: 0\r\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`)],
    ['a list of lengths', post(`host: x\r\ncontent-length: 0, ${smuggled.length}\r\n\r\n${smuggled}`)],
    ['a length with a sign', post(`host: x\r\ncontent-length: +0\r\n\r\n${smuggled}`)],
    ['a length in hex', post(`host: x\r\ncontent-length: 0x0\r\n\r\n${smuggled}`)],
    ['a length past 64 bits', post(`host: x\r\ncontent-length: 18446744073709551616\r\n\r\n${smuggled}`)],
    ['a space before the colon', post(`host: x\r\ncontent-length : 0\r\n\r\n${smuggled}`)],
    ['chunked, obfuscated', post(`host: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n${smuggled}`)],
    ['chunked, not last', post(`host: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n${smuggled}`)],
    ['chunked after a vertical tab', post(`host: x\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n${smuggled}`)],
    ['a folded header', post(`host: x\r\nx-folded: a\r\n b\r\ncontent-length: 0\r\n\r\n${smuggled}`)],
    ['bare line feeds', `POST /api/whatsapp/flows/1/data HTTP/1.1\nhost: x\ncontent-length: 0\n\n${smuggled}`],
    [
      'a carriage return in a value',
      post(`host: x\r\nx-a: b\rcontent-length: 9\r\ncontent-length: 0\r\n\r\n${smuggled}`),
    ],
    ['a NUL in a value', post(`host: x\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n${smuggled}`)],
    [
      'a chunk size past its chunk',
      post(`host: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n${smuggled}`),
    ],
    ['a chunk size of 17 digits', post(`host: x\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\na`)],
    [
      'a chunk extension of 64 kB',
      post(`host: x\r\ntransfer-encoding: chunked\r\n\r\n1;${'e'.repeat(65_536)}\r\na\r\n0\r\n\r\n`),
    ],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a CONNECT', 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['a header of 20 kB', post(`host: x\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`)],
    ['5,000 headers', post(`host: x\r\n${'a: b\r\n'.repeat(5000)}\r\n`)],
  ]
  it.each(shapes)('%s: refused or cut off, and what follows is no request', async (_name, bytes) => {
    const answer = await talk([Buffer.from(bytes, 'latin1')])
    const found = statuses(answer)
    expect(found.length).toBeLessThanOrEqual(1)
    for (const status of found) expect(Math.floor(status / 100)).toBe(4)
    expect(answer).not.toContain('alive')
  })

  it.each([
    ['an Upgrade', ['connection: upgrade, close', 'upgrade: websocket'], '1.1'],
    ['HTTP/1.0', [], '1.0'],
  ] as const)('%s is served as the request it is', async (_name, lines, version) => {
    const { body, signature } = account.meta.seal(exchange)
    const head = headOf(body.length, [`x-hub-signature-256: ${signature}`, ...lines], version)
    expect(statuses(await talk([head, body]))).toEqual([200])
  })

  it('a sender that asks first is told to go on', async () => {
    const { body, signature } = account.meta.seal(exchange)
    const lines = [`x-hub-signature-256: ${signature}`, 'expect: 100-continue', 'connection: close']
    expect(statuses(await talk([headOf(body.length, lines), body]))).toEqual([100, 200])
  })

  it.each([
    ['POST /nowhere', 404],
    ['PUT /api/whatsapp/flows/1/data', 405],
    ['POST /v1/nowhere', 401],
  ])('%s is answered with %s, its body not waited for', async (target, status) => {
    const lines = ['host: x', 'content-type: application/json', 'content-length: 1000', 'connection: close']
    const [found] = statuses(await talk([`${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n{`]))
    expect(found).toBe(status)
  })

  it('an absolute target reaches nothing else', async () => {
    const answer = await talk([
      'POST http://169.254.169.254/latest HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n',
    ])
    expect(statuses(answer)).toEqual([404])
  })

  it('garbage behind a valid request: that is answered, then the connection is closed', async () => {
    const { body, signature } = account.meta.seal(exchange)
    const answer = await talk([
      `${headOf(body.length, [`x-hub-signature-256: ${signature}`]) + body}\0\0garbage\r\n\r\n`,
    ])
    expect(statuses(answer)).toEqual([200, 400])
  })

  it('a connection with too many unanswered requests is cut', async () => {
    const silent = Promise.withResolvers<void>()
    tenant.always(async (call) => {
      await silent.promise
      await reply({ screen: 'NEXT', data: {} })(call)
    })
    const calls = Array.from({ length: bounds.pipelined + 1 }, () => account.meta.seal(exchange))
    const bytes = calls.map(({ body, signature }) => headOf(body.length, [`x-hub-signature-256: ${signature}`]) + body)
    expect(statuses(await talk([bytes.join('')]))).toEqual([])
    silent.resolve()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    await eventually(async () => (await metric('relevo_exchanges_under_way')) === 0)
  })

  async function metric(name: string): Promise<number> {
    const headers = { authorization: `Bearer ${relevo.config.ADMIN_TOKEN}`, connection: 'close' }
    const page = await (await fetch(`${relevo.url}/metrics`, { headers })).text()
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1])
  }

  function headOf(length: number, lines: readonly string[], version = '1.1'): string {
    const { pathname } = new URL(account.endpointUri)
    return `${[`POST ${pathname} HTTP/${version}`, 'host: x', `content-length: ${length}`, ...lines].join('\r\n')}\r\n\r\n`
  }

  async function open(): Promise<Socket> {
    const { port, hostname } = new URL(relevo.url)
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }

  /** All that comes until the server closes. */
  async function received(socket: Socket): Promise<string> {
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => socket.end())
    await new Promise((resolve) => socket.on('close', resolve))
    return Buffer.concat(chunks).toString('latin1')
  }

  async function talk(parts: (string | Buffer)[]): Promise<string> {
    const socket = await open()
    for (const part of parts) socket.write(part)
    return received(socket)
  }

  /** Byte by byte, without end, until it is cut off. */
  async function drip(text: string, everyMs: number, before = ''): Promise<string> {
    const socket = await open()
    socket.write(before)
    let at = 0
    const timer = setInterval(() => socket.writable && socket.write(text[at++ % text.length] ?? ''), everyMs)
    const answer = await received(socket)
    clearInterval(timer)
    return answer
  }
})

describe('who never reads an answer', () => {
  let relevo: TestRelevo

  beforeAll(async () => {
    relevo = await startRelevo({}, { bounds: { requestMs: 1500, takeMs: 1500, lookEveryMs: 50, connections: 4 } })
  })
  afterAll(() => relevo.close())

  const open = async () => {
    const { port, hostname } = new URL(relevo.url)
    const socket = connect(Number(port), hostname).pause()
    await once(socket, 'connect')
    return socket.on('error', () => undefined)
  }

  it.each([['/openapi.json'], ['/docs/static/swagger-ui-bundle.js']])(
    'and has begun to ask again keeps no connection: %s',
    async (path) => {
      // More than the system takes for a socket whose other end does not read; a request half come, or Node would take the connection for idle.
      const half = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n'
      const requests = `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(30) + half
      const mute = await Promise.all(Array.from({ length: 4 }, open))
      for (const socket of mute) socket.write(requests)
      const isServed = () =>
        fetch(`${relevo.url}/livez`, { headers: { connection: 'close' } }).then(
          ({ status }) => status === 200,
          () => false,
        )
      expect(await isServed()).toBe(false)
      await eventually(isServed)
      for (const socket of mute) socket.destroy()
    },
  )
})

it('answers that nobody takes hold a bounded amount of memory together: who leaves most of them is cut', async () => {
  const most = 20 * 1024 * 1024
  // As many at once as it takes, or a connection would be cut for that.
  const relevo = await startRelevo({}, { bounds: { untakenBytes: most, pipelined: 1000 } })
  const bytes = (await (await fetch(`${relevo.url}/openapi.json`)).text()).length
  const { port, hostname } = new URL(relevo.url)
  const asking = async (times: number) => {
    const socket = connect(Number(port), hostname).pause()
    await once(socket, 'connect')
    socket.on('error', () => undefined).write('GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(times))
    return socket
  }
  const few = await asking(2)
  const many: Socket[] = []
  // More than the system takes of a socket whose other end does not read: up to 36 MB (tcp_wmem, tcp_rmem of Linux 6.18).
  for (let asked = 0; asked * bytes < 8 * most; asked += 100) many.push(await asking(100))
  // A socket that is not read from learns of its end by writing.
  const isCut = (socket: Socket) => {
    if (!socket.destroyed) socket.write('\r\n')
    return socket.destroyed
  }
  await eventually(() => many.some(isCut))
  let received = 0
  few.resume().on('data', (piece) => {
    received += piece.length
  })
  await eventually(() => received > 2 * bytes)
  for (const socket of [few, ...many]) socket.destroy()
  await relevo.close()
})

it('an answer that is made after its connection is gone counts nothing', async () => {
  const relevo = await startRelevo({}, { bounds: { untakenBytes: 1024 * 1024 } })
  const tenant = await startTenant()
  tenant.always(delayed(300, { screen: 'A', data: { x: 'a'.repeat(200_000) } }))
  const account = await createAccount(relevo)
  await createWebhook(relevo, account, tenant.url)
  const { port, hostname } = new URL(relevo.url)
  for (let times = 1; times <= 6; times++) {
    const { body, signature } = account.meta.seal({ action: 'INIT', flow_token: `gone-${times}` })
    const socket = connect(Number(port), hostname).on('error', () => undefined)
    socket.write(
      `POST /api/whatsapp/flows/${account.wabaId}/data HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: ${signature}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    await eventually(() => tenant.received.length === times)
    socket.destroy()
  }
  await relevo.exchanges(account, 6)
  // Else each further answer is one too many, and whoever asks for it is cut.
  for (let times = 0; times < 3; times++) expect((await fetch(`${relevo.url}/openapi.json`)).status).toBe(200)
  tenant.assertNoSurprises()
  await tenant.close()
  await relevo.close()
})

const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
