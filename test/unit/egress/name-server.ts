import { createSocket } from 'node:dgram'
import { once } from 'node:events'

export interface NameServerRecords {
  readonly a?: readonly string[]
  /** In the full form of eight groups. */
  readonly aaaa?: readonly string[]
  readonly ttl?: number
  /** This type's queries are dropped. */
  readonly silent?: 'a' | 'aaaa' | 'both'
}

/** A DNS server on loopback that speaks just enough of RFC 1035 for c-ares. */
export interface NameServer {
  /** For `createResolver({ servers })`. */
  readonly address: string
  /** `A name`, in the order in which they came. */
  readonly queries: readonly string[]
  set(name: string, records: NameServerRecords | 'servfail'): void
  close(): Promise<void>
}

const types: Record<number, 'a' | 'aaaa'> = { 1: 'a', 28: 'aaaa' }

export async function startNameServer(): Promise<NameServer> {
  const socket = createSocket('udp4')
  const zone = new Map<string, NameServerRecords | 'servfail'>()
  const queries: string[] = []
  socket.on('message', (query, from) => {
    const { name, type, question } = readQuestion(query)
    queries.push(`${type.toUpperCase()} ${name}`)
    const found = zone.get(name)
    if (found !== 'servfail' && (found?.silent === type || found?.silent === 'both')) return
    socket.send(answer(query, question, type, found), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    address: `127.0.0.1:${socket.address().port}`,
    queries,
    set: (name, records) => {
      zone.set(name, records)
    },
    async close() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

function readQuestion(query: Buffer): { name: string; type: 'a' | 'aaaa'; question: Buffer } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  const type = types[query.readUInt16BE(at + 1)] ?? 'a'
  return { name: labels.join('.').toLowerCase(), type, question: query.subarray(12, at + 5) }
}

function answer(
  query: Buffer,
  question: Buffer,
  type: 'a' | 'aaaa',
  found: NameServerRecords | 'servfail' | undefined,
): Buffer {
  const records = found === 'servfail' ? [] : (found?.[type] ?? [])
  const code = found === 'servfail' ? 2 : found === undefined ? 3 : 0
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head.writeUInt16BE(0x8180 | code, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(records.length, 6)
  const ttl = (found !== 'servfail' && found?.ttl) || 60
  return Buffer.concat([head, question, ...records.map((address) => record(address, type, ttl))])
}

function record(address: string, type: 'a' | 'aaaa', ttl: number): Buffer {
  const bytes =
    type === 'a'
      ? Buffer.from(address.split('.').map(Number))
      : Buffer.from(
          address
            .split(':')
            .map((group) => group.padStart(4, '0'))
            .join(''),
          'hex',
        )
  const head = Buffer.from([0xc0, 12, 0, type === 'a' ? 1 : 28, 0, 1, 0, 0, 0, 0, 0, bytes.length])
  head.writeUInt32BE(ttl, 6)
  return Buffer.concat([head, bytes])
}
