import ipaddr from 'ipaddr.js'
import { type Address, isWithin, isWithinAny, type Network, readNetwork } from './address.ts'

/**
 * All blocks of IANA's IPv4 special-purpose registry, those that it calls globally reachable too (anycast of protocols, where
 * no webhook lives), and multicast. Written out and not taken from ipaddr.js' ranges: what a guard refuses should not
 * change with a library.
 */
const specialIpv4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carrier-grade NAT; some clouds' metadata
  '127.0.0.0/8', // loopback
  // Not IANA's: Azure answers here, in every virtual network, with platform data.
  '168.63.129.16/32',
  '169.254.0.0/16', // link local; most clouds' metadata
  '172.16.0.0/12', // private
  '192.0.0.0/24', // IETF protocol assignments
  '192.0.2.0/24', // documentation
  '192.31.196.0/24', // AS112
  '192.52.193.0/24', // AMT
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '192.175.48.0/24', // AS112
  '198.18.0.0/15', // benchmarking
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
].map(readNetwork)

const zeroIpv4 = readNetwork('0.0.0.0/8')

/**
 * IANA has given out global unicast from here only. So ::/8 with all that begins with it, 100::/64 and 100:0:0:1::/64, 5f00::/16
 * (segment routing), fc00::/7, fe80::/10, fec0::/10 and ff00::/8 need no line of their own, nor does what is not assigned yet.
 */
const globalIpv6 = readNetwork('2000::/3')
/** The blocks of IANA's IPv6 special-purpose registry within that. */
const specialIpv6 = [
  '2001::/23', // IETF protocol assignments: Teredo (2001::/32), benchmarking, AMT, AS112, ORCHID, drones' ids
  '2001:db8::/32', // documentation
  '2620:4f:8000::/48', // AS112
  '3fff::/20', // documentation
].map(readNetwork)

/** The bytes of an IPv6 address that hold an IPv4 address. */
type Place = readonly [number, number, number, number]

const localNat64Places: readonly Place[] = [
  [6, 7, 9, 10],
  [7, 9, 10, 11],
  [9, 10, 11, 12],
  [12, 13, 14, 15],
]

/**
 * Prefixes whose addresses lead, through a translator or a tunnel, to the IPv4 address in them; they are judged by that. To
 * refuse them whole would cut off networks that reach IPv4 through DNS64 (RFC 6147), where every IPv4-only webhook has such an
 * address. Teredo is refused whole: its IPv4 address is a relay's client behind a NAT, and no server lives there.
 *
 * In the local-use prefix the place depends on the length that the operator gave to the translator's (RFC 6052 §2.2: 48, 56, 64
 * or 96 bits here), which we do not know; so an address counts as global only if that holds wherever its IPv4 address may be.
 */
const translations: readonly { network: Network; places: readonly Place[] }[] = [
  { network: readNetwork('64:ff9b::/96'), places: [[12, 13, 14, 15]] },
  { network: readNetwork('64:ff9b:1::/48'), places: localNat64Places },
  { network: readNetwork('2002::/16'), places: [[2, 3, 4, 5]] },
]

/** The addresses that a request to this one would reach: itself, or the IPv4 addresses that may be meant by it. */
export function destinationsOf(address: Address): readonly Address[] {
  const translation = translations.find(({ network }) => isWithin(address, network))
  if (translation === undefined) return [address]
  const bytes = address.toByteArray()
  const found = translation.places.map((place) => new ipaddr.IPv4(place.map((at) => bytes[at] ?? 0)))
  // Zeros are the prefix's own or padding. Nothing is in 0.0.0.0/8 (RFC 1122 §3.2.1.3), but where nothing else is meant it is refused.
  const meant = found.filter((ipv4) => !isWithin(ipv4, zeroIpv4))
  return meant.length > 0 ? meant : found
}

/** `address`: one of those that `destinationsOf` gives. */
export function isGlobal(address: Address): boolean {
  if (address instanceof ipaddr.IPv4) return !isWithinAny(address, specialIpv4)
  return isWithin(address, globalIpv6) && !isWithinAny(address, specialIpv6)
}
