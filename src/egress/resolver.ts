import { promises as dns, type RecordWithTtl } from 'node:dns'
import { createHostsFile } from './hosts-file.ts'

/** Finds tenants' hosts without `dns.lookup`, which would share libuv's four threads with the disk (design.md §4). */
export interface Resolver {
  /** At least one address, IPv4 first. Rejects with c-ares' error if there is none. `hostname` is no IP literal. */
  resolve(hostname: string): Promise<readonly string[]>
  close(): void
}

interface CacheEntry {
  readonly addresses: Promise<readonly string[]>
  /** Infinity while the lookup is running, so that all who ask share it. */
  expiresAt: number
}

const minTtlMs = 5_000
const maxTtlMs = 300_000
const maxEntries = 10_000
/** RFC 8305's resolution delay: how long the first family's answer waits for the other's. Some servers drop AAAA queries. */
const otherFamilyMs = 50

/**
 * `servers`: as for `dns.setServers`, by default the system's. Answers are kept for their TTL within 5 s to 5 min;
 * failures are not kept. Tests give `hostsPath` and `now` (ms, monotonic).
 */
export function createResolver(options: { servers?: string[]; hostsPath?: string; now?: () => number } = {}): Resolver {
  const now = options.now ?? (() => performance.now())
  const hosts = createHostsFile(options.hostsPath ?? '/etc/hosts', now)
  // A lost datagram must cost less than a webhook's whole deadline, so ask again well before c-ares' own 2 s.
  const client = new dns.Resolver({ timeout: 250, tries: 4, maxTimeout: 2000 })
  if (options.servers !== undefined) client.setServers(options.servers)
  const cache = new Map<string, CacheEntry>()

  function lookup(name: string): Promise<readonly string[]> {
    const found = askBothFamilies(client, name)
    const entry: CacheEntry = { addresses: found.then(addressesOf), expiresAt: Number.POSITIVE_INFINITY }
    cache.set(name, entry)
    trim(cache, maxEntries)
    found.then(
      (records) => {
        entry.expiresAt = now() + lifetimeOf(records)
      },
      () => {
        if (cache.get(name) === entry) cache.delete(name)
      },
    )
    return entry.addresses
  }

  return {
    async resolve(hostname) {
      const name = hostname.toLowerCase().replace(/\.$/, '')
      const listed = hosts.addressesOf(name)
      if (listed.length > 0) return listed
      const entry = cache.get(name)
      if (entry !== undefined && now() < entry.expiresAt) return entry.addresses
      cache.delete(name)
      return lookup(name)
    },
    close() {
      client.cancel()
      cache.clear()
    },
  }
}

/** IPv4 first: a broken IPv6 path is common and costs an attempt's 250 ms, a broken IPv4 path is not. */
function addressesOf(records: readonly RecordWithTtl[]): readonly string[] {
  const addresses = records.map((record) => record.address)
  return [...addresses.filter((address) => !address.includes(':')), ...addresses.filter((it) => it.includes(':'))]
}

function lifetimeOf(records: readonly RecordWithTtl[]): number {
  const ttlMs = Math.min(...records.map((record) => record.ttl)) * 1000
  return Math.min(maxTtlMs, Math.max(minTtlMs, ttlMs))
}

/** The records of both families, or of the one that answered within 50 ms of the other; rejects if neither has any. */
function askBothFamilies(client: dns.Resolver, name: string): Promise<readonly RecordWithTtl[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly RecordWithTtl[]>()
  const records: RecordWithTtl[] = []
  let unanswered = 2
  let grace: NodeJS.Timeout | undefined

  const answered = (found: readonly RecordWithTtl[], failure: unknown): void => {
    unanswered -= 1
    records.push(...found)
    if (unanswered > 0 && records.length > 0) grace = setTimeout(resolve, otherFamilyMs, records)
    if (unanswered > 0) return
    clearTimeout(grace)
    if (records.length > 0) resolve(records)
    else reject(failure)
  }
  for (const asked of [client.resolve4(name, { ttl: true }), client.resolve6(name, { ttl: true })]) {
    asked.then(
      (found) => answered(found, new Error('no records')),
      (failure: unknown) => answered([], failure),
    )
  }
  return promise
}

/** Drops the longest-standing entries; a Map keeps the order of insertion. */
function trim(cache: Map<string, unknown>, size: number): void {
  for (const name of cache.keys()) {
    if (cache.size <= size) return
    cache.delete(name)
  }
}
