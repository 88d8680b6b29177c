import { describe, expect, test } from 'vitest'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { edgesOf, embeddings, ipv4Blocks, ipv6Blocks, readValue, textOf } from './special-blocks.ts'

const noAddresses = { has: () => false }
const guard = createAddressGuard({ allowHttp: false, allowedNetworks: [], ownAddresses: noAddresses })
const urlOf = (address: string) => `https://${address.includes(':') ? `[${address}]` : address}/`

function expectRefused(address: string): void {
  expect([address, guard.allows(address)]).toEqual([address, false])
  expect(guard.refusalOfUrl(urlOf(address))).toMatch(/may not be called/)
  expect(guard.refusalOfCall(new URL(urlOf(address)))).toMatch(/may not be called/)
}

function expectAllowed(address: string): void {
  expect([address, guard.allows(address)]).toEqual([address, true])
  expect(guard.refusalOfUrl(urlOf(address))).toBeNull()
  expect(guard.refusalOfCall(new URL(urlOf(address)))).toBeNull()
}

const blocks = [...ipv4Blocks, ...ipv6Blocks]

test.each(blocks)('$cidr ($name) is refused to both edges', ({ cidr }) => {
  for (const edge of edgesOf(cidr)) expectRefused(textOf(edge))
})
test.each(blocks.filter(({ outside }) => outside.length > 0))(
  'what lies just outside $cidr is allowed',
  ({ outside }) => {
    for (const address of outside) expectAllowed(address)
  },
)

/** Of 64:ff9b:1::/48 the four places that RFC 6052 knows. */
describe.each(embeddings)('an IPv4 address within $cidr, at place %$', ({ cidr, put }) => {
  const within = (address: string) =>
    textOf({ family: 6, value: readValue(cidr.replace(/\/.*/, '')).value | put(readValue(address).value) })

  test.each(ipv4Blocks)('is refused on the edges of $cidr', ({ cidr: hidden }) => {
    for (const edge of edgesOf(hidden)) expectRefused(within(textOf(edge)))
  })
  test('is allowed where it is global', () => {
    for (const address of ['8.8.8.8', '93.184.215.14']) expectAllowed(within(address))
  })
})

test.each(['::ffff:', '64:ff9b::', '64:ff9b:1::'])(
  '%s with the neighbours of every block behind it is allowed',
  (prefix) => {
    for (const address of ipv4Blocks.flatMap(({ outside }) => outside)) expectAllowed(prefix + address)
  },
)

describe('64:ff9b:1::/48 where another length would make another address of it', () => {
  test('is refused for the worst of them', () => {
    // 8.8.8.8 behind 96 bits, 10.0.0.8 behind 48.
    expectRefused('64:ff9b:1:a00:0:808:808:808')
    // 9.255.255.255 behind 48 bits, 255.255.255.0 behind 56: the price of not knowing which.
    expectRefused('64:ff9b:1:9ff:ff:ff00::')
  })
  test('is allowed where all of them are global', () => {
    expectAllowed('64:ff9b:1:abcd:8:800:808:808')
    expectRefused('64:ff9b:1:abcd:8:800:7f00:1')
  })
})

test('the neighbours of 2000::/3 are refused, its edges are not', () => {
  const [first, last] = edgesOf('2000::/3')
  for (const edge of [first, last]) expectAllowed(textOf(edge))
  expectRefused(textOf({ family: 6, value: first.value - 1n }))
  expectRefused(textOf({ family: 6, value: last.value + 1n }))
})
