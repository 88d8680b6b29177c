import { createSocket } from 'node:dgram'
import { once } from 'node:events'

export interface NameServerRecords {
  readonly a?: readonly string[]
  readonly aaaa?: readonly string[]
  /** The addresses are this name's, and the name that is asked for leads to it. */
  readonly cname?: string
  /** Seconds; 60 by default. */
  readonly ttl?: number
  /** This type's queries are dropped. */
  readonly silent?: 'a' | 'aaaa' | 'both'
  /** This type's queries are answered with SERVFAIL. */
  readonly failing?: 'a' | 'aaaa'
}

export type NameServerAnswer = NameServerRecords | 'servfail'

/** A DNS server on loopback that speaks just enough of RFC 1035 for c-ares. */
export interface NameServer {
  /** For `createResolver({ servers })`. */
  readonly address: string
  /** `A name`, in the order in which they came. */
  readonly queries: readonly string[]
  /** Several answers are given in turn, to the queries of each type. */
  set(name: string, ...answers: NameServerAnswer[]): void
  close(): Promise<void>
}

type Type = 'a' | 'aaaa'
const typeNames: Readonly<Record<number, Type>> = { 1: 'a', 28: 'aaaa' }
const typeNumbers = { a: 1, cname: 5, aaaa: 28 } as const

export async function startNameServer(): Promise<NameServer> {
  const socket = createSocket('udp4')
  const zone = new Map<string, Record<Type, NameServerAnswer[]>>()
  const queries: string[] = []
  const nextAnswer = (name: string, type: Type): NameServerAnswer | undefined => {
    const turns = zone.get(name)?.[type]
    const answer = turns?.shift()
    if (answer !== undefined) turns?.push(answer)
    return answer
  }
  socket.on('message', (query, from) => {
    const { name, type, question } = readQuestion(query)
    queries.push(`${type.toUpperCase()} ${name}`)
    const found = nextAnswer(name, type)
    if (found !== 'servfail' && (found?.silent === type || found?.silent === 'both')) return
    socket.send(answer(query, question, type, found), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    address: `127.0.0.1:${socket.address().port}`,
    queries,
    set: (name, ...answers) => {
      zone.set(name, { a: [...answers], aaaa: [...answers] })
    },
    async close() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

function readQuestion(query: Buffer): { name: string; type: Type; question: Buffer } {
  const labels: string[] = []
  let at = 12
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  const type = typeNames[query.readUInt16BE(at + 1)] ?? 'a'
  return { name: labels.join('.').toLowerCase(), type, question: query.subarray(12, at + 5) }
}

function answer(query: Buffer, question: Buffer, type: Type, found: NameServerAnswer | undefined): Buffer {
  const given = found === 'servfail' || found === undefined ? {} : found
  const code = found === 'servfail' || given.failing === type ? 2 : found === undefined ? 3 : 0
  const { cname, ttl = 60 } = given
  const owner = cname === undefined ? asked : nameBytes(cname)
  const addresses = code === 2 ? [] : (given[type] ?? []).map(addressBytes)
  const records = addresses.map((bytes) => record(owner, type, ttl, bytes))
  if (cname !== undefined) records.unshift(record(asked, 'cname', ttl, nameBytes(cname)))
  const head = Buffer.alloc(12)
  query.copy(head, 0, 0, 2)
  head.writeUInt16BE(0x8180 | code, 2)
  head.writeUInt16BE(1, 4)
  head.writeUInt16BE(records.length, 6)
  return Buffer.concat([head, question, ...records])
}

function addressBytes(text: string): Buffer {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number))
  // In groups, also where IPv4 was written at the end.
  const [before = [], after = []] = new URL(`http://[${text}]`).hostname
    .slice(1, -1)
    .split('::')
    .map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex')
}

/** A pointer to the question's name. */
const asked = Buffer.from([0xc0, 12])

function nameBytes(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([...labels, Buffer.from([0])])
}

function record(owner: Buffer, type: keyof typeof typeNumbers, ttl: number, bytes: Buffer): Buffer {
  const head = Buffer.from([0, typeNumbers[type], 0, 1, 0, 0, 0, 0, 0, bytes.length])
  head.writeUInt32BE(ttl, 4)
  return Buffer.concat([owner, head, bytes])
}
