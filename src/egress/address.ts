import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

export type Address = ipaddr.IPv4 | ipaddr.IPv6
/** A range and the length of its prefix in bits. */
export type Network = readonly [Address, number]

/**
 * Null for all that is not one plain address: names, loose forms such as `127.1`, zone ids. Mapped IPv4 (`::ffff:0:0/96`) is
 * given as IPv4, because the kernel connects to it as that.
 */
export function readAddress(text: string): Address | null {
  if (isIP(text) === 0 || text.includes('%')) return null
  const address = parse(text)
  return isMapped(address) ? address.toIPv4Address() : address
}

/** Reads a CIDR of `WEBHOOK_ALLOWED_NETWORKS`; throws with a message that names the bad one. Bits past the prefix are ignored. */
export function readNetwork(cidr: string): Network {
  const match = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(cidr)
  const [address, bits] = [match?.[1] ?? '', Number(match?.[2])]
  const family = isIP(address)
  if (family === 0 || bits > (family === 4 ? 32 : 128)) {
    throw new Error(`"${cidr}" is not a network in CIDR form such as 10.0.0.0/8 or fd00::/8`)
  }
  const parsed = parse(address)
  if (isMapped(parsed)) throw new Error(`"${cidr}" is an IPv4 network in IPv6 form: write it as IPv4`)
  return [parsed, bits]
}

export function isWithin(address: Address, [network, bits]: Network): boolean {
  return address.kind() === network.kind() && address.match(network, bits)
}

export function isWithinAny(address: Address, networks: readonly Network[]): boolean {
  return networks.some((network) => isWithin(address, network))
}

/**
 * `text`: one that net.isIP takes. IPv6 goes through Node's own parser first, which writes it in groups: ipaddr.js takes
 * `::8.8.8.8`, as c-ares writes such an AAAA record, for the mapped `::ffff:8.8.8.8`, and Node connects to something else.
 */
function parse(text: string): Address {
  return ipaddr.parse(text.includes(':') ? new URL(`http://[${text}]`).hostname.slice(1, -1) : text)
}

function isMapped(address: Address): address is ipaddr.IPv6 {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()
}
