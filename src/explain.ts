import { StartRefused } from './app/start-refused.ts'
import { ConfigInvalid } from './config.ts'
import { EndedBadly, ToldToEnd } from './end-signals.ts'
import { DistributionRefused } from './storage/citus/distribution.ts'
import { DataDirError } from './storage/data-dir.ts'
import { StorageError } from './storage/database.ts'
import { EmbeddedStartError } from './storage/embedded/start-error.ts'

/** The one line for an expected failure of a command, or null for a bug. */
export function explain(error: unknown): string | null {
  const expected = [
    ConfigInvalid,
    StartRefused,
    ToldToEnd,
    EndedBadly,
    DataDirError,
    EmbeddedStartError,
    StorageError,
    DistributionRefused,
  ]
  if (expected.some((kind) => error instanceof kind)) return (error as Error).message
  const { code, syscall } = (error ?? {}) as { code?: unknown; syscall?: unknown }
  return syscall === 'listen' || syscall === 'getaddrinfo' ? `cannot listen on HOST and PORT: ${String(code)}` : null
}
