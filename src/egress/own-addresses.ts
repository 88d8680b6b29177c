import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { type Address, readAddress } from './address.ts'

/** The addresses of this machine's interfaces. Public ones look like anybody's, and lead to what listens here. */
export interface OwnAddresses {
  /** Throws if the interfaces cannot be read. */
  has(address: Address): boolean
  /** Whether IPv6 leads further than to this machine and its links, as AI_ADDRCONFIG has it. True where nobody can tell. */
  haveIpv6(): boolean
}

export interface OwnAddressesOptions {
  /** As Node gives them; tests give others. */
  readonly interfaces?: () => NodeJS.Dict<readonly Pick<NetworkInterfaceInfo, 'address'>[]>
  /** Monotonic, in ms. */
  readonly now?: () => number
}

/** Reading them takes 0.1 ms, more where containers come and go, and that is also why they are read again. */
const refreshMs = 5_000
/** Every machine may have these. */
const nearRanges: ReadonlySet<string> = new Set(['loopback', 'linkLocal'])

/** Read when asked for, at most every 5 s: no timer, and nothing to close. */
export function createOwnAddresses(options: OwnAddressesOptions = {}): OwnAddresses {
  const { interfaces = networkInterfaces, now = () => performance.now() } = options
  let known: ReadonlySet<string> = new Set()
  let isIpv6Known = false
  let readAt = Number.NEGATIVE_INFINITY

  const refresh = (): void => {
    if (now() - readAt < refreshMs) return
    const found = Object.values(interfaces()).flatMap((list) => list ?? [])
    const addresses = found.map(({ address }) => addressOf(address))
    known = new Set(addresses.map((address) => address.toString()))
    isIpv6Known = addresses.some((it) => it.kind() === 'ipv6' && !nearRanges.has(it.range()))
    readAt = now()
  }

  return {
    has(address) {
      refresh()
      return known.has(address.toString())
    },
    haveIpv6() {
      try {
        refresh()
        return isIpv6Known
      } catch {
        return true
      }
    },
  }
}

/** Some platforms add the zone (`fe80::1%lo0`). One that cannot be read could be any. */
function addressOf(text: string): Address {
  const address = readAddress(text.replace(/%.*$/, ''))
  if (address === null) throw new Error('an interface has an address that cannot be read')
  return address
}
