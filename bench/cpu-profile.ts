import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Node {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string }
  readonly children?: readonly number[]
}

interface Profile {
  readonly nodes: readonly Node[]
  /** µs of CLOCK_MONOTONIC. */
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Where the time between two moments went (µs, as process.hrtime counts), µs by whose it was: a file of src, a package, a part of Node, or one of {@link apart}. */
export function timeByOwner(folder: string, from: number, until: number): Map<string, number> {
  const spent = new Map<string, number>()
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.cpuprofile')))
    addProfile(JSON.parse(readFileSync(join(folder, file), 'utf8')), from, until, spent)
  return spent
}

/** What is no file's: the one operation that cannot be spared, and what V8 names in brackets. */
export const apart = { rsa: 'RSA decryption', collector: 'garbage collector', native: 'outside JavaScript' } as const

function addProfile(profile: Profile, from: number, until: number, spent: Map<string, number>): void {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])))
  const owners = new Map<number, string | null>()
  let at = profile.startTime
  for (const [index, id] of profile.samples.entries()) {
    at += profile.timeDeltas[index] ?? 0
    if (at < from || at > until) continue
    if (!owners.has(id)) owners.set(id, ownerOf(stackOf(id, nodes, parents)))
    const owner = owners.get(id) ?? null
    // A sample stands until the next one.
    if (owner !== null) spent.set(owner, (spent.get(owner) ?? 0) + (profile.timeDeltas[index + 1] ?? 0))
  }
}

function* stackOf(leaf: number, nodes: Map<number, Node>, parents: Map<number, number>): Generator<Node['callFrame']> {
  for (let id: number | undefined = leaf; id !== undefined; id = parents.get(id)) {
    const node = nodes.get(id)
    if (node !== undefined) yield node.callFrame
  }
}

/** Whose the innermost frame of a stack is. Null: nobody's, the process had nothing to do. */
function ownerOf(stack: Iterable<Node['callFrame']>): string | null {
  let node: string | null = null
  for (const { functionName, url } of stack) {
    if (node === null && functionName === '(idle)') return null
    if (node === null && functionName === '(garbage collector)') return apart.collector
    if (node === null && isRsa(functionName, url)) return apart.rsa
    const [, inPackage] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
    if (inPackage !== undefined) return inPackage
    const [, inSource] = /\/(src\/.+)$/.exec(url) ?? []
    if (inSource !== undefined) return inSource
    node ??= url.startsWith('node:') ? url : null
  }
  return node ?? apart.native
}

/** `privateDecrypt` is a closure without a name in the file that has the AES ciphers' methods with theirs. */
function isRsa(functionName: string, url: string): boolean {
  return url === 'node:internal/crypto/cipher' && ['', '(anonymous)', 'privateDecrypt'].includes(functionName)
}
