import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { type Address, readAddress } from './address.ts'

/** The addresses of this machine's interfaces. Public ones look like anybody's, and lead to what listens here. */
export interface OwnAddresses {
  /** Throws if the interfaces cannot be read. */
  has(address: Address): boolean
}

export interface OwnAddressesOptions {
  /** As Node gives them; tests give others. */
  readonly interfaces?: () => NodeJS.Dict<readonly Pick<NetworkInterfaceInfo, 'address'>[]>
  /** Monotonic, in ms. */
  readonly now?: () => number
}

/** Reading them takes 0.1 ms, more where containers come and go, and that is also why they are read again. */
const refreshMs = 5_000

/** Read when asked for, at most every 5 s: no timer, and nothing to close. */
export function createOwnAddresses(options: OwnAddressesOptions = {}): OwnAddresses {
  const { interfaces = networkInterfaces, now = () => performance.now() } = options
  let known: ReadonlySet<string> = new Set()
  let readAt = Number.NEGATIVE_INFINITY

  const refresh = (): void => {
    if (now() - readAt < refreshMs) return
    const found = Object.values(interfaces()).flatMap((list) => list ?? [])
    known = new Set(found.map(({ address }) => canonical(address)))
    readAt = now()
  }

  return {
    has(address) {
      refresh()
      return known.has(address.toString())
    },
  }
}

/** Some platforms add the zone (`fe80::1%lo0`). One that cannot be read could be any. */
function canonical(text: string): string {
  const address = readAddress(text.replace(/%.*$/, ''))
  if (address === null) throw new Error('an interface has an address that cannot be read')
  return address.toString()
}
