import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * Which addresses a tenant may make us call. Only global unicast passes, plus the networks exempted by the operator;
 * whatever cannot be read is refused. The connector asks at every new connection, the API asks when a URL is registered.
 */
export interface AddressGuard {
  /** `address`: one IPv4 or IPv6 address in the canonical form that DNS and the URL parser give. */
  allows(address: string): boolean
  /** Null if the URL may be registered and called, else a sentence for the API. A host that is a name is not resolved. */
  refusalOfUrl(url: string): string | null
}

type Address = ipaddr.IPv4 | ipaddr.IPv6
/** A range and the length of its prefix in bits. */
export type Network = readonly [Address, number]

const maxUrlLength = 2048
/** IANA has given out global unicast from here only; all other IPv6 space is special or unassigned. */
const globalIpv6: Network = [ipaddr.IPv6.parse('2000::'), 3]
/** Azure answers here, in every virtual network, with platform data; the range looks public to all lists. */
const azurePlatform: Network = [ipaddr.IPv4.parse('168.63.129.16'), 32]

/** Throws on the first of `allowedNetworks` that `readNetwork` refuses. */
export function createAddressGuard(options: { allowHttp: boolean; allowedNetworks: readonly string[] }): AddressGuard {
  const exempt = options.allowedNetworks.map(readNetwork)
  const allows = (text: string): boolean => {
    const address = readAddress(text)
    return address !== null && (isGlobal(address) || exempt.some((network) => isWithin(address, network)))
  }
  return { allows, refusalOfUrl: (url) => refusalOfUrl(url, options.allowHttp, allows) }
}

/** Reads a CIDR of `WEBHOOK_ALLOWED_NETWORKS`; throws with a message that names the bad one. Bits past the prefix are ignored. */
export function readNetwork(cidr: string): Network {
  const match = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(cidr)
  const [address, bits] = [match?.[1] ?? '', Number(match?.[2])]
  const family = isIP(address)
  if (family === 0 || bits > (family === 4 ? 32 : 128)) {
    throw new Error(`"${cidr}" is not a network in CIDR form such as 10.0.0.0/8 or fd00::/8`)
  }
  const parsed = ipaddr.parse(address)
  if (isMapped(parsed)) throw new Error(`"${cidr}" is an IPv4 network in IPv6 form: write it as IPv4`)
  return [parsed, bits]
}

/** Null for all that is not one plain address: names, loose forms such as `127.1`, zone ids. Mapped IPv4 is judged as IPv4. */
function readAddress(text: string): Address | null {
  if (isIP(text) === 0 || text.includes('%')) return null
  const address = ipaddr.parse(text)
  return isMapped(address) ? address.toIPv4Address() : address
}

function isMapped(address: Address): address is ipaddr.IPv6 {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()
}

/**
 * NAT64, 6to4 and Teredo embed an IPv4 address that a gateway of ours might translate: refused whole, since which
 * prefix does so is local knowledge. Who runs on DNS64 exempts its prefix.
 */
function isGlobal(address: Address): boolean {
  if (address.range() !== 'unicast' || isWithin(address, azurePlatform)) return false
  return address instanceof ipaddr.IPv4 || isWithin(address, globalIpv6)
}

function isWithin(address: Address, [network, bits]: Network): boolean {
  return address.kind() === network.kind() && address.match(network, bits)
}

function refusalOfUrl(text: string, allowHttp: boolean, allows: (address: string) => boolean): string | null {
  if (text.length > maxUrlLength) return `The URL is longer than ${maxUrlLength} characters.`
  // The URL parser silently drops tabs and newlines and trims blanks; what is stored should be what is called.
  if (/[\s\p{Cc}]/u.test(text) || !URL.canParse(text)) return 'This is not an absolute URL.'
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'The URL must begin with https://.'
  if (url.protocol === 'http:' && !allowHttp) return 'The URL must begin with https://; http is not allowed here.'
  if (url.username !== '' || url.password !== '') return 'The URL must not hold a user name or password.'
  if (text.includes('#')) return 'The URL must not have a fragment.'
  if (!isAllowedPort(url.port)) return 'The port must be 80, 443 or above 1023.'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return isIP(host) !== 0 && !allows(host) ? 'The address is not a public one and may not be called.' : null
}

/** `port` as the URL parser gives it: empty for the scheme's own. The low ports are other protocols' (SMTP, SSH, …). */
function isAllowedPort(port: string): boolean {
  const number = Number(port)
  return port === '' || number === 80 || number === 443 || number > 1023
}
