import { readFileSync, statSync } from 'node:fs'

/** Names that need no DNS: c-ares reads neither the hosts file nor RFC 6761's `localhost` (design.md §4). */
export interface HostsFile {
  /** Addresses of a lower-case name without trailing dot; empty if it is not listed. */
  addressesOf(name: string): readonly string[]
}

const loopback = ['127.0.0.1', '::1']
const statEveryMs = 1000

/** `path` is read at the first question and again when its modification time changes. A file that is not there is empty. */
export function createHostsFile(path: string, now: () => number): HostsFile {
  let checkedAt = Number.NEGATIVE_INFINITY
  let version = ''
  let names: ReadonlyMap<string, readonly string[]> = new Map()

  // Synchronous on purpose: a local file of a few lines, looked at once a second at most and only for new connections.
  const refresh = (): void => {
    if (now() - checkedAt < statEveryMs) return
    checkedAt = now()
    const found = versionOf(path)
    if (found === version) return
    version = found
    names = readHosts(path)
  }

  return {
    addressesOf(name) {
      refresh()
      return names.get(name) ?? (name === 'localhost' || name.endsWith('.localhost') ? loopback : [])
    },
  }
}

function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? '' : `${stat.mtimeNs}:${stat.size}:${stat.ino}`
}

function readHosts(path: string): ReadonlyMap<string, readonly string[]> {
  try {
    return parseHosts(readFileSync(path, 'utf8'))
  } catch {
    return new Map()
  }
}

/** hosts(5): an address, then its names; `#` begins a comment. A name on several lines has all their addresses. */
export function parseHosts(text: string): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [address, ...aliases] = (line.split('#')[0] ?? '').split(/\s+/).filter((word) => word !== '')
    if (address === undefined) continue
    for (const alias of aliases) {
      const name = alias.toLowerCase()
      names.set(name, [...(names.get(name) ?? []), address])
    }
  }
  return names
}
