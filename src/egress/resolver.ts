import { promises as dns, type RecordWithTtl } from 'node:dns'
import { isIPv4 } from 'node:net'
import { createFileChange } from './file-change.ts'
import { createHostsFile } from './hosts-file.ts'
import { createOwnAddresses } from './own-addresses.ts'

/** Finds tenants' hosts without `dns.lookup`, which would share libuv's four threads with the disk (design.md §4). */
export interface Resolver {
  /** At least one address, IPv4 first; IPv6 beside it only where this machine has some itself. Rejects with c-ares' error if there is none. `hostname` is no IP literal. */
  resolve(hostname: string): Promise<readonly string[]>
  close(): void
}

export interface ResolverOptions {
  readonly servers?: () => string[]
  readonly resolvConfPath?: string
  readonly hostsPath?: string
  readonly haveIpv6?: () => boolean
  readonly now?: () => number
}

interface CacheEntry {
  addresses: Promise<readonly string[]>
  /** Infinity while the lookup is running, so that all who ask share it. */
  expiresAt: number
  /** How many lookups of the name in a row, this one too, came without a family that may exist. */
  incomplete: number
}

interface Answer {
  readonly records: readonly RecordWithTtl[]
  /** False while a family has not answered, or if it failed: it may have addresses all the same. */
  readonly isComplete: boolean
}

const minTtlMs = 5_000
const maxTtlMs = 300_000
const maxEntries = 10_000
/**
 * RFC 8305's resolution delay, for IPv4 alone: how long its addresses wait for the other family's. Some servers drop AAAA queries. IPv6
 * waits for as long as it takes: its addresses alone are of no use on many a machine, and a lost datagram is asked for again.
 */
const ipv6DelayMs = 50

/**
 * Answers are kept for their TTL within 5 s to 5 min, those without one family's answer for less, failures not at all. The servers are the
 * system's, read anew when resolv.conf changes. Tests give others, as for `dns.setServers`, paths, `haveIpv6` and `now` (ms, monotonic).
 */
export function createResolver(options: ResolverOptions = {}): Resolver {
  const now = options.now ?? (() => performance.now())
  const haveIpv6 = options.haveIpv6 ?? createOwnAddresses({ now }).haveIpv6
  const hosts = createHostsFile(options.hostsPath ?? '/etc/hosts', now)
  const hasChanged = createFileChange(options.resolvConfPath ?? '/etc/resolv.conf', now)
  let client: dns.Resolver | null = null
  const cache = new Map<string, CacheEntry>()

  function lookup(name: string, incompleteBefore: number): Promise<readonly string[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>()
    const entry: CacheEntry = { addresses: promise, expiresAt: Number.POSITIVE_INFINITY, incomplete: 0 }
    cache.set(name, entry)
    trim(cache, maxEntries)
    let firstAt: number | undefined
    const take = (answer: Answer): void => {
      const addresses = addressesOf(answer.records, haveIpv6())
      resolve(addresses)
      firstAt ??= now()
      entry.addresses = Promise.resolve(addresses)
      entry.incomplete = answer.isComplete ? 0 : incompleteBefore + 1
      entry.expiresAt = firstAt + lifetimeOf(answer.records, entry.incomplete)
    }
    // c-ares reads the file once for each client. What the one before was asked ends by itself.
    if (hasChanged() || client === null) client = createClient(options.servers)
    askBothFamilies(client, name, take, (failure) => {
      if (cache.get(name) === entry) cache.delete(name)
      reject(failure)
    })
    return promise
  }

  return {
    async resolve(hostname) {
      const name = hostname.toLowerCase().replace(/\.$/, '')
      const listed = hosts.addressesOf(name)
      if (listed.length > 0) return listed
      const entry = cache.get(name)
      if (entry !== undefined && now() < entry.expiresAt) return entry.addresses
      cache.delete(name)
      return lookup(name, entry?.incomplete ?? 0)
    },
    close() {
      client?.cancel()
      cache.clear()
    },
  }
}

function createClient(servers: ResolverOptions['servers']): dns.Resolver {
  // A lost datagram must cost less than a webhook's whole deadline, so ask again well before c-ares' own 2 s.
  const client = new dns.Resolver({ timeout: 250, tries: 4, maxTimeout: 2000 })
  if (servers !== undefined) client.setServers(servers())
  return client
}

/**
 * IPv4 first: a broken IPv6 path is common and costs an attempt's 250 ms, a broken IPv4 path is not. Alone where this machine has no
 * IPv6: an attempt that cannot succeed would have the one before it cut off.
 */
function addressesOf(records: readonly RecordWithTtl[], haveIpv6: boolean): readonly string[] {
  const addresses = records.map((record) => record.address)
  const ipv4 = addresses.filter(isIPv4)
  return ipv4.length > 0 && !haveIpv6 ? ipv4 : [...ipv4, ...addresses.filter((address) => !isIPv4(address))]
}

/**
 * Addresses of one family alone may be of no use here, so the other is asked for again soon. A server that never answers it is asked
 * each time after twice as long, at last once in a TTL.
 */
function lifetimeOf(records: readonly RecordWithTtl[], incomplete: number): number {
  const ttlMs = Math.min(...records.map((record) => record.ttl)) * 1000
  const longestMs = incomplete === 0 ? maxTtlMs : Math.min(maxTtlMs, minTtlMs * 2 ** (incomplete - 1))
  return Math.min(longestMs, Math.max(minTtlMs, ttlMs))
}

/**
 * Gives the records of both families, or IPv4's where the other's have not come 50 ms after them, and then once more when its end is
 * known. Fails if neither has any.
 */
function askBothFamilies(
  client: dns.Resolver,
  name: string,
  take: (answer: Answer) => void,
  fail: (failure: unknown) => void,
): void {
  const records: RecordWithTtl[] = []
  let unanswered = 2
  let isComplete = true
  let grace: NodeJS.Timeout | undefined

  const answered = (found: readonly RecordWithTtl[], failure: unknown): void => {
    unanswered -= 1
    records.push(...found)
    if (found.length === 0 && !saysThereIsNone(failure)) isComplete = false
    if (unanswered > 0 && records.some(({ address }) => isIPv4(address))) {
      grace = setTimeout(() => take({ records, isComplete: false }), ipv6DelayMs)
    }
    if (unanswered > 0) return
    clearTimeout(grace)
    if (records.length > 0) take({ records, isComplete })
    else fail(failure)
  }
  for (const asked of [client.resolve4(name, { ttl: true }), client.resolve6(name, { ttl: true })]) {
    asked.then(
      (found) => answered(found, new Error('no records')),
      (failure: unknown) => answered([], failure),
    )
  }
}

function saysThereIsNone(failure: unknown): boolean {
  const { code } = failure as NodeJS.ErrnoException
  return code === dns.NODATA || code === dns.NOTFOUND
}

/** Drops the longest-standing entries; a Map keeps the order of insertion. */
function trim(cache: Map<string, unknown>, size: number): void {
  for (const name of cache.keys()) {
    if (cache.size <= size) return
    cache.delete(name)
  }
}
