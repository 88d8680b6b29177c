import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import type postgres from 'postgres'

const migrationsFolder = fileURLToPath(new URL('../../migrations', import.meta.url))

export interface Migration {
  /** The file's name without `.sql`. */
  readonly name: string
  /** When it was made, Unix ms: what the database remembers it by. */
  readonly madeAt: number
  readonly hash: string
  readonly statements: readonly string[]
}

/** All migrations of this release, in order. */
export function knownMigrations(folder: string = migrationsFolder): Migration[] {
  const journal: { entries: { tag: string; when: number }[] } = JSON.parse(
    readFileSync(`${folder}/meta/_journal.json`, 'utf8'),
  )
  const names = new Map(journal.entries.map(({ tag, when }) => [when, tag]))
  return readMigrationFiles({ migrationsFolder: folder }).map(({ sql, folderMillis, hash }) => ({
    name: names.get(folderMillis) ?? '',
    madeAt: folderMillis,
    hash,
    statements: sql.map((statement) => statement.trim()).filter((statement) => statement !== ''),
  }))
}

/** Those of them that a database lacks. One of a later release lacks none. */
export async function pendingMigrations(sql: postgres.ISql): Promise<Migration[]> {
  const known = knownMigrations()
  const [table] = await sql`select to_regclass('drizzle.__drizzle_migrations') is not null as present`
  if (table?.present !== true) return known
  const [last] = await sql`select coalesce(max(created_at), 0)::float8 as at from drizzle.__drizzle_migrations`
  return known.filter(({ madeAt }) => madeAt > Number(last?.at))
}

/**
 * Applies what is pending, each migration in a transaction of its own: whoever is interrupted goes on with the next. It is noted as drizzle-kit's own
 * migrator does. `skips`: statements that are left to somebody else.
 */
export async function applyPending(sql: postgres.Sql, skips: (statement: string) => boolean): Promise<void> {
  await sql`create schema if not exists drizzle`
  await sql`
    create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`
  for (const { statements, hash, madeAt } of await pendingMigrations(sql)) {
    await patiently(() =>
      sql.begin(async (tx) => {
        await tx.unsafe(`set local lock_timeout = '${lockTimeout}'`)
        for (const statement of statements) if (!skips(statement)) await tx.unsafe(statement)
        await tx`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${madeAt})`
      }),
    )
  }
}

/** Whoever waits for a table's lock has all who come later wait behind: so not for long, and again a moment later. */
const lockTimeout = '1s'
const tries = 60
const pauseMs = 1000

async function patiently(run: () => Promise<unknown>): Promise<void> {
  for (let left = tries - 1; ; left--) {
    try {
      await run()
      return
    } catch (error) {
      if (left === 0 || (error as { code?: unknown }).code !== '55P03') throw error
      await delay(pauseMs)
    }
  }
}
