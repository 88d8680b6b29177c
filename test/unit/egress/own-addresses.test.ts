import { networkInterfaces } from 'node:os'
import { expect, test } from 'vitest'
import { readAddress } from '../../../src/egress/address.ts'
import { createOwnAddresses } from '../../../src/egress/own-addresses.ts'

function ask(own: ReturnType<typeof createOwnAddresses>, text: string): boolean {
  const address = readAddress(text)
  if (address === null) throw new Error(`${text} is no address`)
  return own.has(address)
}

test('are those of all interfaces of this machine', () => {
  const own = createOwnAddresses()
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  expect(all.map(({ address }) => address)).toContain('127.0.0.1')
  expect(all.filter(({ address }) => !ask(own, address))).toEqual([])
  expect(ask(own, '8.8.8.8')).toBe(false)
})

test('are compared as addresses and not as text', () => {
  const addresses = ['fe80::1%lo0', '2A00:0:0::0001', '::1.2.3.4'].map((address) => ({ address }))
  const own = createOwnAddresses({ interfaces: () => ({ en0: addresses, en1: undefined }) })
  for (const text of ['fe80:0::1', '2a00::1', '::102:304']) expect([text, ask(own, text)]).toEqual([text, true])
  expect(ask(own, '1.2.3.4')).toBe(false)
})

test('are read when asked for, and again after 5 s', () => {
  let clock = 0
  let reads = 0
  const own = createOwnAddresses({
    now: () => clock,
    interfaces: () => ({ eth0: [{ address: `8.8.8.${++reads}` }] }),
  })
  expect(reads).toBe(0)
  expect([ask(own, '8.8.8.1'), ask(own, '8.8.8.2')]).toEqual([true, false])
  clock = 4_999
  expect(ask(own, '8.8.8.1')).toBe(true)
  expect(reads).toBe(1)
  clock = 5_000
  expect([ask(own, '8.8.8.1'), ask(own, '8.8.8.2')]).toEqual([false, true])
})

test('throw while they cannot be read, and are read again at the next question', () => {
  let failure: Error | null = new Error('EMFILE')
  const own = createOwnAddresses({
    interfaces: () => {
      if (failure !== null) throw failure
      return { eth0: [{ address: 'no address' }] }
    },
  })
  expect(() => ask(own, '8.8.8.8')).toThrow('EMFILE')
  expect(own.haveIpv6()).toBe(true)
  failure = null
  expect(() => ask(own, '8.8.8.8')).toThrow('cannot be read')
})

test.each([
  ['none but those of this machine and its links', ['::1', 'fe80::1%eth0', '10.0.0.1', '::ffff:8.8.8.8'], false],
  ['a public one', ['127.0.0.1', '2a00::5'], true],
  ['one of a private network, behind which there may be more', ['fd00::2'], true],
])('have IPv6 or not: %s', (_, addresses, haveIpv6) => {
  const own = createOwnAddresses({ interfaces: () => ({ eth0: addresses.map((address) => ({ address })) }) })
  expect(own.haveIpv6()).toBe(haveIpv6)
})
