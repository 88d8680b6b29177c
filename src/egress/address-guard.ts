import { isIP } from 'node:net'
import { type Address, isWithinAny, readAddress, readNetwork } from './address.ts'
import { destinationsOf, isGlobal } from './global-address.ts'
import { createOwnAddresses, type OwnAddresses } from './own-addresses.ts'

/**
 * Which addresses a tenant, or what Meta sends, may make us call. Only global unicast passes that is not this machine's, plus the
 * networks exempted by the operator; whatever cannot be read or judged is refused. The API asks when a URL is registered; a
 * request's URL is judged again when it is called, and its address at each new connection. Nothing here throws.
 */
export interface AddressGuard {
  /** `address`: one IPv4 or IPv6 address in the canonical form that DNS and the URL parser give. */
  allows(address: string): boolean
  /** Null if the URL may be registered, else a sentence for the API. A host that is a name is not resolved. */
  refusalOfUrl(url: string): string | null
  /** Null if the URL may be called as far as it shows, the same sentence if not: a row may be older than the guard's rules. */
  refusalOfCall(url: URL): string | null
}

export interface AddressGuardOptions {
  /** Plain `http:` besides `https:`. */
  readonly allowHttp: boolean
  /** CIDRs. An IPv4 network exempts no address that leads to it through a translator: its packets go elsewhere first. */
  readonly allowedNetworks: readonly string[]
  /** By default those of this machine; tests give others. */
  readonly ownAddresses?: Pick<OwnAddresses, 'has'>
}

const maxUrlLength = 2048

/** Throws on the first of `allowedNetworks` that `readNetwork` refuses. */
export function createAddressGuard(options: AddressGuardOptions): AddressGuard {
  const exempt = options.allowedNetworks.map(readNetwork)
  const own = options.ownAddresses ?? createOwnAddresses()
  const isPublic = (address: Address): boolean => isGlobal(address) && !own.has(address)

  const allows = (text: string): boolean => {
    try {
      const address = readAddress(text)
      if (address === null) return false
      return isWithinAny(address, exempt) || (!own.has(address) && destinationsOf(address).every(isPublic))
    } catch {
      return false
    }
  }
  const refusalOfCall = (url: URL): string | null => refusalOf(url, options.allowHttp, allows)
  return { allows, refusalOfCall, refusalOfUrl: (text) => refusalOfText(text) ?? refusalOfCall(new URL(text)) }
}

/** What is no danger to call, and yet not worth storing. */
function refusalOfText(text: string): string | null {
  if (text.length > maxUrlLength) return `The URL is longer than ${maxUrlLength} characters.`
  // The URL parser silently drops tabs and newlines and trims blanks; what is stored should be what is called.
  if (/[\s\p{Cc}]/u.test(text) || !URL.canParse(text)) return 'This is not an absolute URL.'
  return text.includes('#') ? 'The URL must not have a fragment.' : null
}

function refusalOf(url: URL, allowHttp: boolean, allows: AddressGuard['allows']): string | null {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'The URL must begin with https://.'
  if (url.protocol === 'http:' && !allowHttp) return 'The URL must begin with https://; http is not allowed here.'
  if (url.username !== '' || url.password !== '') return 'The URL must not hold a user name or password.'
  if (!isAllowedPort(url.port)) return 'The port must be 80, 443 or above 1023.'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return isIP(host) !== 0 && !allows(host) ? 'The address is not a public one and may not be called.' : null
}

/** `port` as the URL parser gives it: empty for the scheme's own. The low ports are other protocols' (SMTP, SSH, …). */
function isAllowedPort(port: string): boolean {
  const number = Number(port)
  return port === '' || number === 80 || number === 443 || number > 1023
}
