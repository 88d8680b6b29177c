import { readFileSync } from 'node:fs'
import { createFileChange } from './file-change.ts'

/** Names that need no DNS: c-ares reads neither the hosts file nor RFC 6761's `localhost` (design.md §4). */
export interface HostsFile {
  /** Addresses of a lower-case name without trailing dot; empty if it is not listed. */
  addressesOf(name: string): readonly string[]
}

const loopback = ['127.0.0.1', '::1']

/** `path` is read at the first question and again when its modification time changes. A file that is not there is empty. */
export function createHostsFile(path: string, now: () => number): HostsFile {
  const hasChanged = createFileChange(path, now)
  let names: ReadonlyMap<string, readonly string[]> = new Map()

  return {
    addressesOf(name) {
      if (hasChanged()) names = readHosts(path)
      return names.get(name) ?? (name === 'localhost' || name.endsWith('.localhost') ? loopback : [])
    },
  }
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
