import { type ExtractTablesWithRelations, sql } from 'drizzle-orm'
import type { PgDatabase } from 'drizzle-orm/pg-core'
import type { PostgresJsQueryResultHKT } from 'drizzle-orm/postgres-js'
import type postgres from 'postgres'
import { ApiError } from '../domain/errors.ts'
import { DistributionRefused } from './citus/distribution.ts'
import { primaryOf } from './driver.ts'
import { exchangeConnections, openOwn, openPools, type PoolOptions } from './pools.ts'
import type * as schema from './schema.ts'

type Schema = typeof schema

/** What a query can be run on: the database or an open transaction. */
export interface Queryable {
  readonly orm: PgDatabase<PostgresJsQueryResultHKT, Schema, ExtractTablesWithRelations<Schema>>
}

declare const inTransaction: unique symbol

/** An open transaction. Only {@link transaction} makes one. */
export interface Transaction extends Queryable {
  readonly [inTransaction]: true
}

/** contract.md §2 `DATABASE_BACKEND`. */
export type DatabaseBackend = 'postgres' | 'citus'

export interface Database extends Queryable {
  readonly backend: DatabaseBackend
  /** The exchange path's own pool and client: drizzle changes the parsers of the client it is given, and API load must not queue before an exchange. */
  readonly sql: postgres.Sql
  /** For reads that an exchange may give up on: those keep their connection until the database answers, and rows must not wait for them. */
  readonly reads: postgres.Sql
  /** For asynchronous deliveries and what runs in the background: neither exchanges nor API calls queue behind them. */
  readonly work: postgres.Sql
  /** Past a pooler: for LISTEN, which needs a session of its own. */
  readonly directUrl: string
  /**
   * Opens new pools, at most once in 5 s. For whoever saw the database away: connections to a server that is gone may hang for good, and postgres.js
   * 3.4 never settles a query that it puts on a connection between that socket's `error` and `close`, nor uses that connection again. What is under
   * way in the old ones may be sound, and has a minute to end.
   */
  renew(): void
  /** Runs `work` on a connection of its own, which `renew` does not cut after its minute: for what may take more. */
  onOwnConnection<T>(work: (sql: postgres.Sql) => Promise<T>): Promise<T>
  /** Connects the pools of the exchange path, so that the first exchanges need not. Never throws. */
  warm(): Promise<void>
  close(): Promise<void>
}

export interface DatabaseOptions extends PoolOptions {
  /** Where `url` is a pooler's: contract.md §2 `DATABASE_DIRECT_URL`. */
  readonly directUrl?: string | undefined
  /** `postgres` unless given. */
  readonly backend?: DatabaseBackend
}

const renewEveryMs = 5000

/** Opens the pools. Connects on first use: a database that is away does not stop the process from starting. */
export function openDatabase(options: DatabaseOptions): Database {
  const primary = primaryOf(options.url)
  let pools = openPools(options, primary)
  let renewedAt = performance.now()
  const own = new Set<ReturnType<typeof openOwn>>()
  return {
    get sql() {
      return pools.sql
    },
    get reads() {
      return pools.reads
    },
    get work() {
      return pools.work
    },
    get orm() {
      return pools.orm
    },
    directUrl: options.directUrl ?? options.url,
    backend: options.backend ?? 'postgres',
    renew() {
      primary?.doubt()
      if (performance.now() - renewedAt < renewEveryMs) return
      renewedAt = performance.now()
      void pools.retire()
      pools = openPools(options, primary)
    },
    async onOwnConnection(work) {
      const pool = openOwn(options, primary)
      own.add(pool)
      try {
        return await work(pool.client)
      } finally {
        own.delete(pool)
        await pool.end()
      }
    },
    warm: async () => {
      const { sql, reads } = pools
      const clients = [sql, reads].flatMap((client) => Array<postgres.Sql>(exchangeConnections).fill(client))
      const touch = () => Promise.allSettled(clients.map((client) => client`select 1`))
      await storing('warm', touch).catch(() => undefined)
    },
    close: async () => {
      renewedAt = Number.POSITIVE_INFINITY
      await Promise.all([pools, ...own].map((each) => each.end()))
    },
  }
}

/**
 * What storage throws: which operation, and what the database said of it, without the statement or its parameters
 * (drizzle's own errors carry them past every log filter).
 */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly operation: string
  /** SQLSTATE, or the code of the connection's failure. */
  readonly sqlState: string | null
  readonly constraint: string | null
  constructor(operation: string, sqlState: string | null, constraint: string | null) {
    super(`${operation} failed: ${sqlState ?? 'unknown'}${constraint === null ? '' : ` on ${constraint}`}`)
    this.operation = operation
    this.sqlState = sqlState
    this.constraint = constraint
  }

  /** For the log: there is always one. */
  get code(): string {
    return this.sqlState ?? 'unknown'
  }

  /** True when the database was not heard at all. Of those that are `unavailable` others were refused by it: no such database, wrong password. */
  get unanswered(): boolean {
    return !isSqlState(this.code) || this.code.startsWith('08')
  }

  /** True when the database could not be asked, as opposed to having refused. */
  get unavailable(): boolean {
    return this.unanswered || /^(25006|28|3D|53|57P)/.test(this.code)
  }

  /** True when others were in the way: a lock that was not to be had in time, a deadlock. Nothing happened, and it may work the next time. */
  get contended(): boolean {
    return /^(55P03|40001|40P01)$/.test(this.code)
  }

  /**
   * True when the database may have carried it out, or still may: it took too long, or the connection was lost while the answer was awaited.
   * (Even a session that is ended may have committed: one that waits for its standby.)
   */
  get mayHaveHappened(): boolean {
    return /^(timeout|CONNECTION_CLOSED|CONNECTION_DESTROYED|ECONNRESET|EPIPE|ETIMEDOUT|08(?!00[14]).*|57P0[12])$/.test(
      this.code,
    )
  }

  get duplicate(): boolean {
    return this.sqlState === '23505'
  }
}

/** Every SQLSTATE of PostgreSQL has a digit, as EPIPE has not. */
function isSqlState(code: string): boolean {
  return /^(?=.*\d)[0-9A-Z]{5}$/.test(code)
}

/** How long an operation may take unless it says otherwise, ms. A database that hangs must not hold its callers. */
const operationMs = 5000

/** What is left of an operation's time when its waits for locks are over, ms. */
const lockMarginMs = 1000

/**
 * For a transaction in {@link storing}: who waits for somebody's rows is told so, and does not take the database for one that is away. Half of its
 * time for each lock: one row is waited for twice, behind others that wait and then for who has it.
 */
export function lockTimeout(timeoutMs: number = operationMs): string {
  return `set local lock_timeout = ${(timeoutMs - lockMarginMs) / 2}`
}

/**
 * Runs one operation; whatever it throws leaves as a {@link StorageError} (its own StorageErrors pass). Past `timeoutMs` it is
 * `unavailable` too, though the database may still carry it out.
 */
export async function storing<T>(
  operation: string,
  run: () => PromiseLike<T>,
  timeoutMs: number = operationMs,
): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new StorageError(operation, 'timeout', null)), timeoutMs)
  try {
    return await Promise.race([run(), timeout])
  } catch (error) {
    throw scrub(operation, error)
  } finally {
    clearTimeout(timer)
  }
}

function scrub(operation: string, error: unknown): unknown {
  // An ApiError thrown inside a transaction ends it on purpose.
  if (error instanceof StorageError || error instanceof ApiError || error instanceof DistributionRefused) return error
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const { code, constraint_name } = (cause ?? {}) as { code?: unknown; constraint_name?: unknown }
  const failed = new StorageError(operation, text(code), text(constraint_name))
  // Who asked, not this function: the log tells one line of it.
  Error.captureStackTrace(failed, storing)
  return failed
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

/** Runs `work` in one transaction that waits for no lock to the end of its time. Thrown errors roll it back. */
export function transaction<T>(
  database: Queryable,
  operation: string,
  work: (tx: Transaction) => Promise<T>,
  timeoutMs: number = operationMs,
): Promise<T> {
  const run = () =>
    database.orm.transaction(async (orm) => {
      await orm.execute(sql.raw(lockTimeout(timeoutMs)))
      return work({ orm } as unknown as Transaction)
    })
  return storing(operation, run, timeoutMs)
}

/** An open transaction of postgres.js, for those who run several writes of this folder in one. */
export type SqlTransaction = postgres.TransactionSql

/** A statement and its values, on a pool or in a transaction; `rows` as the driver gives them. */
export interface Statements {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>
}

/** For a library that brings its own SQL. */
export function statementsOf(client: postgres.Sql | postgres.TransactionSql): Statements {
  return {
    async executeSql(text, values = []) {
      // Without values the simple protocol, which takes several statements at once.
      if (values.length === 0) return { rows: (await runScript(client, text)).flat() }
      return { rows: await client.unsafe(text, values as postgres.ParameterOrJSON<never>[], { prepare: true }) }
    },
  }
}

/**
 * A script with a transaction of its own: the driver has it in `begin` only, which also rolls back what fails half-way. (Its `reserve` never
 * resolves on a new connection of a client that fetches no types.)
 */
async function runScript(client: postgres.Sql | postgres.TransactionSql, text: string): Promise<postgres.Row[]> {
  const [, script] = /^\s*begin\s*;(.*)\bcommit\s*;?\s*$/is.exec(text) ?? []
  if (script === undefined || !('begin' in client)) return await client.unsafe(text)
  return (await client.begin((tx) => tx.unsafe(script))) as postgres.Row[]
}

/** PostgreSQL's text has no NUL, and UTF-8 no half of a surrogate pair: what phones send is stored with the replacement character in their place. */
export function storable(value: string): string {
  return (value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value).toWellFormed()
}
