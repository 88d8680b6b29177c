import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, afterEach, beforeEach } from 'vitest'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'
import { type EmbeddedOptions, type EmbeddedServer, startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from './embedded.ts'

export interface EmbeddedFixture {
  /** A folder of the test's own; its servers are ended and it is removed after the test. */
  readonly dataDir: string
  start(options?: Partial<EmbeddedOptions>): Promise<EmbeddedServer>
  /** Of the server that runs in `dataDir`. */
  postmasterPid(): Promise<number | undefined>
}

/** Gives each test of a file a DATA_DIR. Call once, at the top. */
export function useEmbedded(): EmbeddedFixture {
  let dataDir = ''
  const started: EmbeddedServer[] = []
  beforeEach(async () => {
    dataDir = await freshDataDir()
  })
  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.stop()))
    await removeEmbedded(dataDir)
  })
  return {
    get dataDir() {
      return dataDir
    },
    start: async (options) => {
      const server = await startEmbedded({ dataDir, ...options })
      started.push(server)
      return server
    },
    postmasterPid: async () => (await livePostmaster(join(dataDir, 'postgresql')))?.pid,
  }
}

/** Has each test of a file begin with a cluster that was made and stopped before: initdb takes a second, a copy less. */
export function usePlantedCluster(fixture: EmbeddedFixture): void {
  let seed: string | undefined
  beforeEach(async () => {
    if (seed === undefined) {
      seed = await freshDataDir()
      await (await startEmbedded({ dataDir: seed })).stop()
    }
    // fs.cp keeps no owners.
    execFileSync('cp', ['-a', `${seed}/.`, fixture.dataDir])
  })
  afterAll(async () => {
    if (seed !== undefined) await removeEmbedded(seed)
  })
}

/** What the database behind a URL says of itself. */
export async function describeDatabase(url: string): Promise<Record<string, unknown>> {
  const sql = postgres(url, { max: 1 })
  try {
    const [row] = await sql`
      select current_database() as database, pg_encoding_to_char(encoding) as encoding, datcollate as collate,
        current_setting('unix_socket_directories') as sockets, current_setting('cluster_name') as name,
        current_setting('max_connections')::int as connections
      from pg_database where datname = current_database()`
    return { ...row }
  } finally {
    await sql.end()
  }
}
