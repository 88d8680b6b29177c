import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { createAccount, createWebhook, startRelevo, type TestAccount, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

const exchange = { action: 'data_exchange', screen: 'A', data: {}, flow_token: 'bad-http', version: '3.0' }

/** Paths, methods, heads and connections that are not as they should be: none crashes, none is a 5xx. */
describe('bad HTTP', () => {
  let relevo: TestRelevo
  let account: TestAccount
  let tenant: FakeTenant

  beforeAll(async () => {
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'NEXT', data: {} }))
    account = await createAccount(relevo)
    await createWebhook(relevo, account, tenant.url)
  })
  afterAll(async () => {
    expect((await account.meta.call({ action: 'ping' })).text).toBe('{"data":{"status":"active"}}')
    tenant.assertNoSurprises()
    await tenant.close()
    await relevo.close()
    expect(relevo.logs.filter(({ msg }) => String(msg).includes('failed inside'))).toEqual([])
  })

  const paths: [string, number][] = [
    ['/api/whatsapp/flows//data', 404],
    ['/api/whatsapp/flows/%00/data', 404],
    ['/api/whatsapp/flows/..%2f..%2fv1/data', 404],
    ['/api/whatsapp/flows/%zz/data', 404],
    ['/api/whatsapp/flows/%ff%fe/data', 404],
    [`/api/whatsapp/flows/${'9'.repeat(10_000)}/data`, 404],
    ['/api/whatsapp/flows/__proto__/data', 404],
    ['/api/whatsapp/flows/constructor/x/data', 404],
    ['/api/whatsapp/flows/1/data/', 404],
    ['/api/whatsapp/flows/1/data?x=%', 404],
    ['/api/whatsapp/flows/1/2/3/data', 404],
  ]
  it.each(paths)('the path %j gets an empty %i', async (path, status) => {
    const call = account.meta.seal({ action: 'ping' })
    const answer = await talk([
      `POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${call.body.length}\r\n\r\n`,
      call.body,
    ])
    expect(statuses(answer)).toEqual([status])
    expect(answer.split('\r\n\r\n')[1]).toBe('')
  })

  it('a metaFlowId of any kind names no flow and is served', async () => {
    for (const metaFlowId of ['%00', '%F0%9F%8E%89', 'a'.repeat(200), '..%2f', 'constructor']) {
      const { answer } = await account.meta.call(exchange, { metaFlowId })
      expect(answer).toEqual({ screen: 'NEXT', data: {} })
    }
  })

  it.each(['HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY'])('%s gets a 4xx', async (method) => {
    const path = new URL(account.endpointUri).pathname
    const answer = await talk([
      `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`,
    ])
    expect(Math.floor((statuses(answer)[0] ?? 0) / 100)).toBe(4)
  })

  const noHttp: [string, string][] = [
    ['other bytes', '\x00\xff'.repeat(250)],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(517, 'x')],
    [
      'two lengths',
      'POST /api/whatsapp/flows/1/data HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na',
    ],
    [
      'a length and chunks',
      'POST /api/whatsapp/flows/1/data HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a negative length', 'POST /api/whatsapp/flows/1/data HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n'],
    [
      'a broken chunk',
      'POST /api/whatsapp/flows/1/data HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    ],
    ['headers of 100 kB', `POST / HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(100_000)}\r\n\r\n`],
    ['no host', 'POST /api/whatsapp/flows/1/data HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'],
  ]
  it.each(noHttp)('%s instead of a request gets a 4xx, or is cut off', async (_name, bytes) => {
    const [status = 400] = statuses(await talk([Buffer.from(bytes, 'latin1')]))
    expect(Math.floor(status / 100)).toBe(4)
  })

  it.each([
    ['twice', ['x-hub-signature-256: a', 'x-hub-signature-256: b']],
    ['empty', ['x-hub-signature-256:']],
    ['of 10 kB', [`x-hub-signature-256: sha256=${'0'.repeat(10_000)}`]],
    ['not ASCII', ['x-hub-signature-256: sha256=é']],
    ['uppercase hex of the wrong bytes', [`x-hub-signature-256: sha256=${'AB'.repeat(32)}`]],
  ])('a signature %s gets an empty 432', async (_name, lines) => {
    const { body } = account.meta.seal({ action: 'ping' })
    const answer = await talk([headOf(body.length, ['connection: close', ...lines]), body])
    expect(statuses(answer)).toEqual([432])
    expect(answer.split('\r\n\r\n')[1]).toBe('')
  })

  it('a body in chunks of one byte is served, and one in chunks over 1 MiB refused', async () => {
    const { body, signature } = account.meta.seal({ action: 'ping' })
    const head = (more: string) =>
      `POST ${new URL(account.endpointUri).pathname} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n${more}\r\n`
    const single = [...body.toString()].map((byte) => `1\r\n${byte}\r\n`).join('')
    const served = await talk([head(`x-hub-signature-256: ${signature}\r\n`), single, '0\r\n\r\n'])
    expect(statuses(served)).toEqual([200])
    const big = `10000\r\n${'a'.repeat(0x10000)}\r\n`.repeat(17)
    expect(statuses(await talk([head(''), big, '0\r\n\r\n']))).toEqual([413])
  })

  it('pipelined requests are answered in their order', async () => {
    const calls = [
      account.meta.seal({ ...exchange, flow_token: 'pipelined' }),
      { body: 'x', signature: 'none' },
      account.meta.seal({ action: 'ping' }),
      { body: '[]', signature: `sha256=${createHmac('sha256', account.appSecret).update('[]').digest('hex')}` },
    ]
    const bytes = calls.map(({ body, signature }, index) => {
      const last = index === calls.length - 1 ? ['connection: close'] : []
      return headOf(body.length, [`x-hub-signature-256: ${signature}`, ...last]) + body
    })
    tenant.next(async (call) => {
      await call.pause(50)
      await reply({ screen: 'SLOW', data: {} })(call)
    })
    expect(statuses(await talk([bytes.join('')]))).toEqual([200, 432, 200, 400])
  })

  it('a client that hangs up in the middle of its body is forgotten', async () => {
    for (const end of ['destroy', 'resetAndDestroy'] as const) {
      const { body, signature } = account.meta.seal(exchange)
      const socket = await open()
      const head = headOf(body.length, [`x-hub-signature-256: ${signature}`])
      await new Promise((resolve) => socket.write(head + body.slice(0, 100), resolve))
      socket[end]()
      await once(socket, 'close')
    }
    expect((await account.meta.call({ action: 'ping' })).status).toBe(200)
  })

  it('a client that hangs up while the tenant thinks leaves a closed row', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    tenant.next(async (call) => {
      await released
      await reply({ screen: 'LATE', data: {} })(call)
    })
    const before = tenant.received.length
    const { body, signature } = account.meta.seal({ ...exchange, flow_token: 'hung-up' })
    const socket = await open()
    socket.write(headOf(body.length, [`x-hub-signature-256: ${signature}`]) + body)
    await eventually(() => tenant.received.length === before + 1)
    socket.resetAndDestroy()
    await once(socket, 'close')
    release()
    const { id } = JSON.parse(tenant.received.at(-1)?.rawBody.toString() ?? '')
    expect(await closedRow(id)).toMatchObject({ outcome: 'replied', reply: { screen: 'LATE', data: {} } })
  })

  async function closedRow(id: string) {
    return eventually(async () => {
      const { body } = await relevo.api('GET', `/v1/exchanges/${id}`, { token: account.token })
      return body.outcome != null && body
    })
  }

  function headOf(length: number, lines: string[]): string {
    const { pathname } = new URL(account.endpointUri)
    return `${[`POST ${pathname} HTTP/1.1`, 'host: x', `content-length: ${length}`, ...lines].join('\r\n')}\r\n\r\n`
  }

  async function open(): Promise<Socket> {
    const { port, hostname } = new URL(relevo.url)
    const socket = connect(Number(port), hostname)
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    return socket
  }

  /** Writes the bytes and returns all that comes until the server closes. */
  async function talk(parts: (string | Buffer)[]): Promise<string> {
    const socket = await open()
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    // Not once(): that fails on the reset that a refused sender may see.
    const closed = new Promise((resolve) => socket.on('close', resolve))
    for (const part of parts) socket.write(part)
    await closed
    return Buffer.concat(chunks).toString('latin1')
  }
})

const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
