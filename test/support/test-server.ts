import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir } from './embedded.ts'
import { copyPlanted } from './planted-cluster.ts'

export interface TestServer {
  /** The path names its maintenance database. */
  readonly url: string
  end(): Promise<void>
}

/**
 * A PostgreSQL that is quick because it keeps nothing safe, in a fresh folder. `planted`: the DATA_DIR that its cluster is a copy of, else it is made.
 * All go when `end` is called, or this process is gone.
 */
export async function startTestServer(planted: string | null = null): Promise<TestServer> {
  const dataDir = await freshDataDir()
  const program = fileURLToPath(new URL('remove-embedded.ts', import.meta.url))
  const remover = spawn(process.execPath, [program, dataDir, ...(planted === null ? [] : [planted])], {
    stdio: ['pipe', 'inherit', 'inherit'],
    detached: true,
  })
  if (planted !== null) copyPlanted(planted, dataDir)
  const remove = async () => {
    remover.stdin.end()
    if (remover.exitCode === null) await once(remover, 'exit', { signal: AbortSignal.timeout(20_000) })
  }
  const unsafe = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
  try {
    const server = await startEmbedded({ dataDir, serverSettings: { ...unsafe, max_connections: '200' } })
    return { url: server.url, end: () => server.stop().finally(remove) }
  } catch (error) {
    await remove()
    throw error
  }
}
