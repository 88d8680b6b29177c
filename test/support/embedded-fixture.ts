import { join } from 'node:path'
import postgres from 'postgres'
import { afterAll, afterEach, beforeEach, inject } from 'vitest'
import { livePostmaster } from '../../src/storage/embedded/postmaster.ts'
import { type EmbeddedOptions, type EmbeddedServer, startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir, removeEmbedded } from './embedded.ts'
import { copyPlanted, plantCluster } from './planted-cluster.ts'

export interface EmbeddedFixture {
  /** A folder of the test's own; its servers are ended and it is removed after the test. */
  readonly dataDir: string
  /** Puts a cluster there that was made and stopped before: initdb takes two seconds, a copy less. */
  plant(): Promise<void>
  start(options?: Partial<EmbeddedOptions>): Promise<EmbeddedServer>
  /** Of the server that runs in `dataDir`. */
  postmasterPid(): Promise<number | undefined>
}

/** Gives each test of a file a DATA_DIR. Call once, at the top. */
export function useEmbedded(): EmbeddedFixture {
  let dataDir = ''
  let ownPlanted: string | undefined
  const started: EmbeddedServer[] = []
  beforeEach(async () => {
    dataDir = await freshDataDir()
  })
  afterEach(async () => {
    await Promise.all(started.splice(0).map((server) => server.stop()))
    await removeEmbedded(dataDir)
  })
  afterAll(async () => {
    if (ownPlanted !== undefined) await removeEmbedded(ownPlanted)
  })
  return {
    get dataDir() {
      return dataDir
    },
    plant: async () => {
      ownPlanted ??= inject('plantedDataDir') === null ? await plantCluster() : undefined
      copyPlanted(ownPlanted ?? inject('plantedDataDir') ?? '', dataDir)
    },
    start: async (options) => {
      const server = await startEmbedded({ dataDir, ...options })
      started.push(server)
      return server
    },
    postmasterPid: async () => (await livePostmaster(join(dataDir, 'postgresql')))?.pid,
  }
}

/** Has each test begin with a cluster that was made and stopped before. */
export function usePlantedCluster(fixture: EmbeddedFixture): void {
  beforeEach(() => fixture.plant())
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
