/**
 * What the guard is held to, written without its code and its library: numbers and the registries' own words.
 * https://www.iana.org/assignments/iana-ipv4-special-registry, …/iana-ipv6-special-registry, and multicast.
 */
export interface Block {
  readonly cidr: string
  readonly name: string
  /** The addresses just before and after it, where these are global. */
  readonly outside: readonly string[]
}

/** An IPv4 or IPv6 address as a number. */
export interface Value {
  readonly family: 4 | 6
  readonly value: bigint
}

const block = (cidr: string, name: string, ...outside: string[]): Block => ({ cidr, name, outside })

export const ipv4Blocks: readonly Block[] = [
  block('0.0.0.0/8', 'this network', '1.0.0.0'),
  block('0.0.0.0/32', 'this host'),
  block('10.0.0.0/8', 'private', '9.255.255.255', '11.0.0.0'),
  block('100.64.0.0/10', 'shared, and metadata at Alibaba', '100.63.255.255', '100.128.0.0'),
  block('127.0.0.0/8', 'loopback', '126.255.255.255', '128.0.0.0'),
  block('168.63.129.16/32', "Azure's platform, of no registry", '168.63.129.15', '168.63.129.17'),
  block('169.254.0.0/16', 'link local, and metadata', '169.253.255.255', '169.255.0.0'),
  block('172.16.0.0/12', 'private', '172.15.255.255', '172.32.0.0'),
  block('192.0.0.0/24', 'IETF protocols, and metadata at Oracle', '191.255.255.255', '192.0.1.0'),
  block('192.0.0.0/29', 'service continuity'),
  block('192.0.0.8/32', 'dummy'),
  block('192.0.0.9/32', 'PCP anycast'),
  block('192.0.0.10/32', 'TURN anycast'),
  block('192.0.0.170/31', 'NAT64 discovery'),
  block('192.0.2.0/24', 'documentation', '192.0.1.255', '192.0.3.0'),
  block('192.31.196.0/24', 'AS112', '192.31.195.255', '192.31.197.0'),
  block('192.52.193.0/24', 'AMT', '192.52.192.255', '192.52.194.0'),
  block('192.88.99.0/24', '6to4 relays', '192.88.98.255', '192.88.100.0'),
  block('192.168.0.0/16', 'private', '192.167.255.255', '192.169.0.0'),
  block('192.175.48.0/24', 'AS112', '192.175.47.255', '192.175.49.0'),
  block('198.18.0.0/15', 'benchmarking', '198.17.255.255', '198.20.0.0'),
  block('198.51.100.0/24', 'documentation', '198.51.99.255', '198.51.101.0'),
  block('203.0.113.0/24', 'documentation', '203.0.112.255', '203.0.114.0'),
  block('224.0.0.0/4', 'multicast', '223.255.255.255'),
  block('240.0.0.0/4', 'reserved'),
  block('255.255.255.255/32', 'broadcast'),
]

const f = 'ffff:ffff:ffff:ffff:ffff:ffff'
export const ipv6Blocks: readonly Block[] = [
  block('::/128', 'unspecified'),
  block('::1/128', 'loopback'),
  block('::/96', 'IPv4-compatible'),
  block('::ffff:0:0:0/96', 'IPv4-translated'),
  block('64:ff9b:2::/47', 'beside the translators'),
  block('100::/64', 'discard only'),
  block('100:0:0:1::/64', 'dummy'),
  block('1000::/4', 'unassigned', '2000::'),
  block('2001::/23', 'IETF protocols', `2000:ffff:${f}`, '2001:200::'),
  block('2001::/32', 'Teredo'),
  block('2001:1::1/128', 'PCP anycast'),
  block('2001:1::2/127', 'TURN and SRP anycast'),
  block('2001:2::/48', 'benchmarking'),
  block('2001:3::/32', 'AMT'),
  block('2001:4:112::/48', 'AS112'),
  block('2001:10::/28', 'ORCHID'),
  block('2001:20::/28', 'ORCHIDv2'),
  block('2001:30::/28', "drones' ids"),
  block('2001:db8::/32', 'documentation', `2001:db7:${f}`, '2001:db9::'),
  block('2620:4f:8000::/48', 'AS112', '2620:4f:7fff:ffff:ffff:ffff:ffff:ffff', '2620:4f:8001::'),
  block('3fff::/20', 'documentation', `3ffe:ffff:${f}`, '3fff:1000::'),
  block('4000::/3', 'unassigned', `3fff:ffff:${f}`),
  block('5f00::/16', 'segment routing'),
  block('8000::/2', 'unassigned'),
  block('fc00::/7', 'unique local, and metadata at AWS and Google'),
  block('fe80::/10', 'link local'),
  block('fec0::/10', 'site local'),
  block('ff00::/8', 'multicast'),
]

/** First and last. */
export function edgesOf(cidr: string): readonly [Value, Value] {
  const [text = '', bits = ''] = cidr.split('/')
  const { family, value } = readValue(text)
  const size = 1n << BigInt((family === 4 ? 32 : 128) - Number(bits))
  return [
    { family, value },
    { family, value: value + size - 1n },
  ]
}

/** `text` in a form that net.isIP takes, without zone. */
export function readValue(text: string): Value {
  if (!text.includes(':')) return { family: 4, value: joined(text.split('.').map(Number), 8n) }
  const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes) =>
    [0, 2].map((at) => (Number(bytes[at]) * 256 + Number(bytes[at + 1])).toString(16)).join(':'),
  )
  const [before = [], after = []] = hex.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(8 - before.length - after.length).fill('0')
  const groups = [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16))
  return { family: 6, value: joined(groups, 16n) }
}

function joined(parts: readonly number[], width: bigint): bigint {
  return parts.reduce((value, part) => (value << width) | BigInt(part), 0n)
}

/** Dotted, or all eight groups. */
export function textOf({ family, value }: Value): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join('.')
  return [7n, 6n, 5n, 4n, 3n, 2n, 1n, 0n].map((group) => ((value >> (group * 16n)) & 0xffffn).toString(16)).join(':')
}

type Test = (address: Value) => boolean

const testOf = (cidr: string): Test => {
  const [first, last] = edgesOf(cidr)
  return ({ family, value }) => family === first.family && value >= first.value && value <= last.value
}

/** Where an IPv4 address is hidden behind a prefix: bits to its right, and where RFC 6052 splits it around byte 8. */
export const embeddings: readonly { readonly cidr: string; put(ipv4: bigint): bigint; get(value: bigint): bigint }[] = [
  { cidr: '::ffff:0:0/96', put: (ipv4) => ipv4, get: (value) => value & 0xffffffffn },
  { cidr: '64:ff9b::/96', put: (ipv4) => ipv4, get: (value) => value & 0xffffffffn },
  { cidr: '2002::/16', put: (ipv4) => ipv4 << 80n, get: (value) => (value >> 80n) & 0xffffffffn },
  split(48n),
  split(56n),
  { cidr: '64:ff9b:1::/48', put: (ipv4) => ipv4 << 24n, get: (value) => (value >> 24n) & 0xffffffffn },
  { cidr: '64:ff9b:1::/48', put: (ipv4) => ipv4, get: (value) => value & 0xffffffffn },
]

function split(length: bigint) {
  const leftBits = 64n - length
  const rightBits = 32n - leftBits
  const mask = (bits: bigint) => (1n << bits) - 1n
  return {
    cidr: '64:ff9b:1::/48',
    put: (ipv4: bigint) => ((ipv4 >> rightBits) << 64n) | ((ipv4 & mask(rightBits)) << (56n - rightBits)),
    get: (value: bigint) =>
      (((value >> 64n) & mask(leftBits)) << rightBits) | ((value >> (56n - rightBits)) & mask(rightBits)),
  }
}

const isSpecial: readonly Test[] = [...ipv4Blocks, ...ipv6Blocks].map(({ cidr }) => testOf(cidr))
const isUnicast = testOf('2000::/3')
const hidings = embeddings.map(({ cidr, get }) => ({ hides: testOf(cidr), get }))

/** Whether it must be refused where nothing is exempt. */
export function isBlocked(address: Value): boolean {
  const hidden = hidings.filter(({ hides }) => hides(address)).map(({ get }) => get(address.value))
  if (hidden.length === 0) {
    return (address.family === 6 && !isUnicast(address)) || isSpecial.some((test) => test(address))
  }
  const meant = hidden.filter((ipv4) => ipv4 >> 24n !== 0n)
  return meant.length === 0 || meant.some((value) => isBlocked({ family: 4, value }))
}
