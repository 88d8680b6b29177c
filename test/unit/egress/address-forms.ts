import fc from 'fast-check'
import {
  edgesOf,
  embeddings,
  ipv4Blocks,
  ipv6Blocks,
  isBlocked,
  readValue,
  textOf,
  type Value,
} from './special-blocks.ts'

/** An address and one of the ways to write it as the host of a URL. */
export interface Written {
  readonly address: Value
  readonly host: string
}

type Range = readonly [first: bigint, last: bigint, place: (value: bigint) => Value]

const asIs = (family: 4 | 6) => (value: bigint) => ({ family, value })
const behind = embeddings.map(({ cidr, put }) => {
  const prefix = edgesOf(cidr)[0].value
  return (ipv4: bigint): Value => ({ family: 6, value: prefix | put(ipv4) })
})
const rangesOf = (cidr: string, places: readonly Range[2][]): Range[] => {
  const [first, last] = edgesOf(cidr)
  return places.map((place) => [first.value, last.value, place])
}
const blockedRanges = [
  ...ipv4Blocks.flatMap(({ cidr }) => rangesOf(cidr, [asIs(4), asIs(4), asIs(4), ...behind])),
  ...ipv6Blocks.flatMap(({ cidr }) => rangesOf(cidr, [asIs(6), asIs(6)])),
]
const anyNumber = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n })

/** Of any block, its edges oftener; IPv4 also behind each of the prefixes that hide it. */
export const blockedAddress = fc
  .tuple(fc.nat(), anyNumber)
  .map(([index, number]) => {
    const [first, last, place] = chosen(blockedRanges, index)
    const near = [first, last][Number(number % 8n)]
    return place(near ?? first + (number % (last - first + 1n)))
  })
  // 0.0.0.0/8 looks like the zeros of 64:ff9b:1::/48.
  .filter(isBlocked)

const outside = ipv4Blocks.flatMap((block) => block.outside)
/** Next to a block, or a well-known one. */
export const openAddress = fc.constantFrom(
  ...['8.8.8.8', '93.184.215.14', '2606:4700:4700::1111', '2a00:1450:4001:82a::200e', ...outside].map(readValue),
  ...['::ffff:', '64:ff9b::'].flatMap((prefix) => outside.map((address) => readValue(prefix + address))),
  ...ipv6Blocks.flatMap((block) => block.outside).map(readValue),
)

/** Takes one decision after another out of bytes: an arbitrary for each would cost more than what is tested. */
type Choose = <T>(from: readonly T[]) => T
const choices = fc.uint8Array({ minLength: 64, maxLength: 64 })
const chooserOf = (bytes: Uint8Array): Choose => {
  let at = 0
  return (from) => chosen(from, bytes[at++ % bytes.length] ?? 0)
}

function chosen<T>(from: readonly T[], index: number): T {
  const found = from[index % from.length]
  if (found === undefined) throw new Error('there is nothing to choose from')
  return found
}

const radices: readonly ((value: bigint) => string)[] = [
  (value) => `${value}`,
  (value) => `0x${value.toString(16)}`,
  (value) => `0X${value.toString(16).toUpperCase()}`,
  (value) => `0x000${value.toString(16)}`,
  (value) => `0${value.toString(8)}`,
  (value) => `0000${value.toString(8)}`,
]

/** inet_aton's forms: one to four numbers, each in any radix, the last one as wide as what is left. */
function looseIpv4(value: bigint, choose: Choose): string {
  const count = choose([4, 4, 1, 2, 3])
  const heads = [24n, 16n, 8n].slice(0, count - 1).map((shift) => (value >> shift) & 0xffn)
  const last = value & ((1n << BigInt(8 * (5 - count))) - 1n)
  return [...heads, last].map((number) => choose(radices)(number)).join('.')
}

const digitsOf = (zero: number) => Array.from('0123456789', (_, digit) => String.fromCodePoint(zero + digit))
/** Full width, mathematical bold, double struck, monospace; circled ones begin at 1. */
const digitFamilies = [0xff10, 0x1d7ce, 0x1d7d8, 0x1d7f6].map(digitsOf).concat([['⓪', ...digitsOf(0x2460)]])
const dots = ['。', '．', '｡']
/** What IDNA drops: soft hyphen, zero width space, word joiner, variation selector; and what the URL parser does. */
const nothings = ['\u00ad', '\u200b', '\u2060', '\ufe0f', '\t', '\n', '\r']

/** A character in the ways that URL and IDNA know for it; mostly itself. */
function disguised(char: string, choose: Choose): string {
  const way = choose(['', '', '', '', 'alike', 'alike', 'percent', 'nothing'])
  if (way === 'percent') return `%${char.charCodeAt(0).toString(16)}`
  if (way === 'nothing') return char + choose(nothings)
  if (way !== 'alike') return char
  if (char === '.') return choose(dots)
  return /\d/.test(char)
    ? (choose(digitFamilies)[Number(char)] ?? char)
    : String.fromCodePoint(char.charCodeAt(0) + 0xfee0)
}

function hostOfIpv4(value: bigint, choose: Choose): string {
  const plain = looseIpv4(value, choose)
  const text = choose([true, false]) ? plain : Array.from(plain, (char) => disguised(char, choose)).join('')
  return text + choose(['', '', '', '.', '。', '%2E'])
}

/** Groups with zeros or without, any run of zero groups left out, either case, the last two as IPv4, with a zone. */
function hostOfIpv6(value: bigint, choose: Choose): string {
  const width = choose([1, 4])
  const groups = textOf({ family: 6, value })
    .split(':')
    .map((group) => group.padStart(width, '0'))
  if (choose([true, false])) groups.splice(6, 2, textOf({ family: 4, value: value & 0xffffffffn }))
  const from = choose([0, 1, 2, 3, 4, 5, 6, 7])
  const longest = choose([8, 8, 0, 1, 2, 3])
  let to = from
  while (to < from + longest && /^0+$/.test(groups[to] ?? '')) to += 1
  const text = to === from ? groups.join(':') : `${groups.slice(0, from).join(':')}::${groups.slice(to).join(':')}`
  const zone = choose(['', '', '', '', '', '', '%eth0', '%25lo', '%1'])
  return `[${choose([text, text.toUpperCase()])}${zone}]`
}

/** Ways to write addresses as a URL's host. Not every one is taken by the URL parser: zones are not. */
export const written = (addresses: fc.Arbitrary<Value>): fc.Arbitrary<Written> =>
  fc.tuple(addresses, choices).map(([address, bytes]) => {
    const write = address.family === 4 ? hostOfIpv4 : hostOfIpv6
    return { address, host: write(address.value, chooserOf(bytes)) }
  })

/** The forms of blocked IPv4 addresses that a libc takes as well. */
export const looseBlocked: fc.Arbitrary<string> = fc
  .tuple(blockedAddress, choices)
  .map(([{ value }, bytes]) => ({ value: value & 0xffffffffn, choose: chooserOf(bytes) }))
  .filter(({ value }) => isBlocked({ family: 4, value }))
  .map(({ value, choose }) => looseIpv4(value, choose))
