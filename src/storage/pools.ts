import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { openClient } from './driver.ts'
import type { Connecting, Primary } from './hosts.ts'
import * as schema from './schema.ts'

export interface PoolOptions {
  readonly url: string
  /** False for poolers that keep no prepared statements: contract.md §2 `DATABASE_PREPARE`. */
  readonly prepare: boolean
}

/** Of each of the two pools of the exchange path. Four keep one core busy; more would only queue in the database. */
export const exchangeConnections = 4
const workConnections = 4
/** How long what is under way may go on before its connections are cut, seconds. */
const endSeconds = 2
/** The same in pools that are replaced: as long as an API call may take. */
const retiredSeconds = 60

interface Orm {
  readonly orm: PostgresJsDatabase<typeof schema>
}

/** What a Database gives out (`orm` on a pool of its own, the API's), opened and replaced together. */
export interface Pools extends Orm {
  readonly sql: postgres.Sql
  readonly reads: postgres.Sql
  readonly work: postgres.Sql
  end(): Promise<void>
  /** For pools that are replaced and may be sound: what is under way goes on, for a minute at most. Nothing begins there, or connects. */
  retire(): Promise<void>
}

export function openPools(options: PoolOptions, primary: Primary | null): Pools {
  let isRetired = false
  // Where a server closes without a word, the driver would connect on and on for what nobody waits for any more.
  const connecting = primary?.whileTrue(() => !isRetired) ?? null
  const open = (max: number) => openPool(options, connecting, max)
  const apiClient = open(6)
  const [sql, reads, work] = [open(exchangeConnections), open(exchangeConnections), open(workConnections)]
  const end = async (seconds: number) => {
    await Promise.all([sql, reads, work, apiClient].map((client) => client.end({ timeout: seconds })))
  }
  return {
    sql,
    reads,
    work,
    ...queryableOn(apiClient),
    end: () => end(endSeconds),
    retire: () => {
      isRetired = true
      return end(retiredSeconds)
    },
  }
}

/** Of a client that nothing else uses: its parsers are changed. */
export function queryableOn(client: postgres.Sql): Orm {
  return { orm: drizzle({ client, schema }) }
}

/** A pool of one, for work that has a time of its own. */
export function openOwn(options: PoolOptions, primary: Primary | null): { client: postgres.Sql; end(): Promise<void> } {
  const client = openPool(options, primary, 1)
  return { client, end: () => client.end({ timeout: endSeconds }) }
}

function openPool({ url, prepare }: PoolOptions, connecting: Connecting | null, max: number): postgres.Sql {
  const options = {
    max,
    prepare,
    connect_timeout: 5,
    idle_timeout: 300,
    // A database that is back is used within a second, not after the default back-off of up to 20 s.
    backoff: (attempt: number) => Math.min(0.05 * 2 ** attempt, 1),
    connection: { application_name: 'relevo' },
  }
  return openClient(url, options, connecting)
}
