import { statSync } from 'node:fs'

const statEveryMs = 1000

/**
 * Whether a file is another than when it was last asked for: by modification time, size and inode, looked at once a second at most.
 * True at the first question if the file is there. `now`: ms, monotonic.
 */
export function createFileChange(path: string, now: () => number): () => boolean {
  let checkedAt = Number.NEGATIVE_INFINITY
  let version = ''

  // Synchronous on purpose: a local file, looked at for new connections only.
  return () => {
    if (now() - checkedAt < statEveryMs) return false
    checkedAt = now()
    const before = version
    version = versionOf(path)
    return version !== before
  }
}

function versionOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? '' : `${stat.mtimeNs}:${stat.size}:${stat.ino}`
}
