import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startProxy, type TcpProxy } from '../support/tcp-proxy.ts'

/** The proxy itself: what the fault tests stand on. */
interface Heard {
  readonly socket: Socket
  text: string
  end: 'open' | 'fin' | 'rst'
}

let server: Server
let proxy: TcpProxy
/** The server's ends of connections, in order. */
let accepted: Heard[]
const opened: Socket[] = []

function hear(socket: Socket): Heard {
  const heard: Heard = { socket, text: '', end: 'open' }
  opened.push(socket)
  socket.on('data', (bytes) => {
    heard.text += bytes.toString('latin1')
  })
  socket.on('end', () => {
    heard.end = 'fin'
  })
  socket.on('error', () => {
    heard.end = 'rst'
  })
  return heard
}

async function startServer(taken: (heard: Heard) => void): Promise<Server> {
  const started = createServer({ allowHalfOpen: true }, (socket) => taken(hear(socket)))
  await once(started.listen(0, '127.0.0.1'), 'listening')
  return started
}
const urlOf = (started: Server) => `tcp://127.0.0.1:${(started.address() as AddressInfo).port}`

const dial = (): Heard =>
  hear(connect({ port: Number(new URL(proxy.url).port), host: '127.0.0.1', allowHalfOpen: true }))

async function open(): Promise<Heard> {
  const heard = dial()
  await once(heard.socket, 'connect')
  return heard
}

/** Both ends of a connection over which bytes have gone both ways. */
async function openPair(): Promise<{ client: Heard; far: Heard }> {
  const index = accepted.length
  const client = await open()
  const far = await eventually(() => accepted[index])
  client.socket.write('>')
  far.socket.write('<')
  await eventually(() => client.text === '<' && far.text === '>')
  return { client, far }
}

beforeEach(async () => {
  accepted = []
  server = await startServer((heard) => accepted.push(heard))
  proxy = await startProxy(urlOf(server))
})
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.destroy()
  await proxy.close()
  expect(await eventually(() => proxy.openConnections === 0)).toBe(true)
  await new Promise((resolve) => server.close(resolve))
})

describe('without a fault', () => {
  it('passes on bytes of any number and each end, both ways', async () => {
    const { client, far } = await openPair()
    const megabyte = 'x'.repeat(1 << 20)
    client.socket.end(megabyte)
    far.socket.end(megabyte)
    await eventually(() => far.end === 'fin' && client.end === 'fin')
    expect([far.text.length, client.text.length]).toEqual([1 + (1 << 20), 1 + (1 << 20)])
  })

  it('passes on a reset, and a server that is not there', async () => {
    const { client, far } = await openPair()
    far.socket.resetAndDestroy()
    await eventually(() => client.end === 'rst')
    await proxy.restore('tcp://127.0.0.1:1')
    const other = await open()
    await eventually(() => other.end === 'rst')
  })
})

describe('slow', () => {
  it.each([
    ['latency', { kind: 'latency', ms: 60, jitterMs: 10 }, 60],
    ['drip', { kind: 'drip', bytes: 2, everyMs: 20 }, 60],
    ['bandwidth', { kind: 'bandwidth', bytesPerSecond: 100 }, 40],
  ] as const)('%s: all bytes come, in order, not early', async (_name, fault, leastMs) => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: fault })
    const startedAt = performance.now()
    for (const piece of ['abc', 'd', 'efg', 'h']) client.socket.write(piece)
    await eventually(() => far.text === '>abcdefgh')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(leastMs)
    proxy.fault({ toClient: fault })
    far.socket.end('12345678')
    await eventually(() => client.text === '<12345678' && client.end === 'fin')
  })
})

describe('after so many bytes', () => {
  it('reset: both ends are reset, and what came before arrives', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'reset', afterBytes: 3 } })
    client.socket.write('abcdef')
    await eventually(() => far.end === 'rst' && client.end === 'rst')
    expect(far.text).toBe('>abc')
  })

  it('half_close: the receiver sees an end, and can still answer', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'half_close', afterBytes: 3 } })
    client.socket.write('abcdef')
    await eventually(() => far.end === 'fin')
    expect(far.text).toBe('>abc')
    far.socket.write('answer')
    await eventually(() => client.text === '<answer')
    expect(client.end).toBe('open')
  })

  it('truncate: both see an end', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toClient: { kind: 'truncate', afterBytes: 3 } })
    far.socket.write('abcdef')
    await eventually(() => far.end === 'fin' && client.end === 'fin')
    expect(client.text).toBe('<abc')
  })

  it('vanish: nothing more comes, no end either, for good; the other direction goes on', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'vanish', afterBytes: 3 } })
    client.socket.write('abcdef')
    await eventually(() => far.text === '>abc')
    client.socket.write('ghi')
    far.socket.write('answer')
    await eventually(() => client.text === '<answer')
    expect([far.text, far.end]).toEqual(['>abc', 'open'])
    await proxy.restore()
    await eventually(() => far.end === 'rst')
    expect([far.text, client.end]).toEqual(['>abc', 'open'])
  })

  it('hold: nothing more comes until it is lifted, and the sender is held up', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'hold', afterBytes: 3 } })
    const bytes = 32 << 20
    client.socket.end('x'.repeat(bytes))
    await eventually(() => far.text === '>xxx')
    // Two kernels' buffers and the proxy's own: far less than all.
    expect(client.socket.writableLength).toBeGreaterThan(0)
    expect(far.text).toBe('>xxx')
    await proxy.restore()
    await eventually(() => far.end === 'fin', { timeoutMs: 20_000 })
    expect(far.text).toHaveLength(1 + bytes)
  })
})

describe('at once', () => {
  it.each([
    ['reset', 'rst'],
    ['half_close', 'fin'],
    ['truncate', 'fin'],
  ] as const)('%s: an idle connection ends, and so does a new one', async (kind, end) => {
    const { client } = await openPair()
    proxy.fault({ toClient: { kind, afterBytes: 0 } })
    await eventually(() => client.end === end)
    // A reset may come before its own side knows that it is connected.
    const next = dial()
    await eventually(() => next.end === end)
  })

  it('live: connections that come are as good as new', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'vanish', afterBytes: 0 }, toClient: { kind: 'vanish', afterBytes: 0 } }, 'live')
    client.socket.write('lost')
    await openPair()
    expect([far.text, client.end]).toEqual(['>', 'open'])
  })

  it('new: connections that are there go on', async () => {
    const { client, far } = await openPair()
    proxy.fault({ toServer: { kind: 'reset', afterBytes: 1 } }, 'new')
    client.socket.write('abc')
    await eventually(() => far.text === '>abc')
    const next = await open()
    next.socket.write('abc')
    await eventually(() => next.end === 'rst')
  })
})

describe('a server that is taken away', () => {
  it('cut: connections are reset and new ones refused, until it is back, elsewhere perhaps', async () => {
    const { client, far } = await openPair()
    await proxy.cut()
    await eventually(() => client.end === 'rst' && far.end === 'rst')
    await expect(open()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    const elsewhere = await startServer(({ socket }) => socket.write('elsewhere'))
    await proxy.restore(urlOf(elsewhere))
    const next = await open()
    await eventually(() => next.text === 'elsewhere')
    next.socket.destroy()
    elsewhere.close()
  })

  it('freeze: what was sent meanwhile comes when it is back', async () => {
    const { client, far } = await openPair()
    proxy.freeze()
    client.socket.write('abc')
    const next = await open()
    next.socket.write('def')
    await eventually(() => accepted.length === 2)
    expect([far.text, accepted[1]?.text]).toEqual(['>', ''])
    await proxy.restore()
    await eventually(() => far.text === '>abc' && accepted[1]?.text === 'def')
  })
})
