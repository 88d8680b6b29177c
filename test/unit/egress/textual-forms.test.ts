import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { createConnector } from '../../../src/egress/connector.ts'
import { AddressBlocked } from '../../../src/egress/errors.ts'
import { blockedAddress, looseBlocked, openAddress, type Written, written } from './address-forms.ts'
import { isBlocked, readValue, textOf, type Value } from './special-blocks.ts'

// The properties give true or false: an `expect` in each of 10,000 cases costs more than what it looks at.
const runs = { numRuns: 10_000 }
const guard = createAddressGuard({ allowHttp: true, allowedNetworks: [], ownAddresses: { has: () => false } })
const bare = (host: string) => host.replace(/^\[|\]$/g, '')

/** The address that Node's URL parser makes of a host; null where it makes a name of it, or nothing. */
function literalIn(url: URL | null): Value | null {
  const host = bare(url?.hostname ?? '')
  return isIP(host) === 0 ? null : readValue(host)
}

/** What a real connector says when it is to connect to a URL whose name, if it has one, leads to `address`. */
function connectTo(url: URL, address: Value): Promise<unknown> {
  const connect = createConnector({ guard, resolver: { resolve: async () => [textOf(address)], close: () => {} } })
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const target = { protocol: url.protocol, hostname: bare(url.hostname), host: url.host, port: url.port }
  connect(target, (error, socket) => {
    socket?.destroy()
    resolve(error)
  })
  return promise
}

describe('every textual form of a blocked address', () => {
  test('that is a URL is refused when it is registered, when it is called and when it is connected to', async () => {
    let literals = 0
    const isRefused = async ({ address, host }: Written): Promise<boolean> => {
      const text = `http://${host}/hook`
      const url = URL.parse(text)
      if (guard.allows(bare(host))) return false
      if (url === null) return guard.refusalOfUrl(text) !== null
      const literal = literalIn(url)
      if (literal !== null) {
        literals += 1
        const isAgreed = literal.family === address.family && literal.value === address.value
        if (!isAgreed || guard.refusalOfUrl(text) === null || guard.refusalOfCall(url) === null) return false
      }
      return (await connectTo(url, address)) instanceof AddressBlocked
    }
    await fc.assert(fc.asyncProperty(written(blockedAddress), isRefused), runs)
    expect(literals).toBeGreaterThan(runs.numRuns / 2)
  })

  test('that dns.lookup knows is refused as text and as what it leads to', async () => {
    const texts = fc.sample(looseBlocked, runs.numRuns)
    // All at once: one after another would spend a second on the way to the thread pool and back.
    const found = (await Promise.all(texts.map((text) => lookup(text, { all: true })))).flat()
    expect(found).toHaveLength(runs.numRuns)
    expect(found.filter(({ address }) => guard.allows(address))).toEqual([])
    expect(texts.filter((text) => guard.allows(text) || guard.refusalOfUrl(`https://${text}/`) === null)).toEqual([])
  })
})

test('text at random: what Node makes a blocked address of is refused, and nothing but an address is allowed', () => {
  const noise = fc.constantFrom(...'0123456789abcdefxX.:[]%@/\\?# ', '。', '１', 'ａ', '\u00ad')
  const bent = fc
    .tuple(written(blockedAddress), fc.nat(), fc.nat(3), fc.array(noise, { maxLength: 3 }))
    .map(([{ host }, at, length, chars]) => {
      const start = at % (host.length + 1)
      return host.slice(0, start) + chars.join('') + host.slice(start + length)
    })
  let blocked = 0
  const isJudged = (host: string): boolean => {
    const text = `https://${host}/hook`
    const url = URL.parse(text)
    const literal = literalIn(url)
    if (guard.allows(host) && (isIP(host) === 0 || isBlocked(readValue(host)))) return false
    if (url === null || literal === null || !isBlocked(literal)) return true
    blocked += 1
    return guard.refusalOfUrl(text) !== null && guard.refusalOfCall(url) !== null
  }
  const texts = fc.oneof({ weight: 4, arbitrary: bent }, fc.string(), fc.ipV4Extended(), fc.ipV6())
  fc.assert(fc.property(texts, isJudged), runs)
  expect(blocked).toBeGreaterThan(runs.numRuns / 10)
})

test('the same forms of other addresses pass, so that it is the address that is refused and not the form', () => {
  const passes = ({ address, host }: Written): boolean => {
    const url = URL.parse(`http://${host}/hook`)
    return !isBlocked(address) && (url === null || literalIn(url) === null || guard.refusalOfCall(url) === null)
  }
  fc.assert(fc.property(written(openAddress), passes), runs)
})
