import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate as applyMigrations } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'

const migrations = fileURLToPath(new URL('../../migrations', import.meta.url))

/** Applies the migrations up to one, as the release that had it as its last did: by drizzle's own migrator, which is not ours. */
export async function migrateTo(url: string, last: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'relevo-migrations-'))
  await cp(migrations, folder, { recursive: true })
  const journalPath = join(folder, 'meta/_journal.json')
  const journal: { entries: { tag: string }[] } = JSON.parse(await readFile(journalPath, 'utf8'))
  const entries = journal.entries.filter(({ tag }) => tag <= last)
  await writeFile(journalPath, JSON.stringify({ ...journal, entries }))
  const client = postgres(url, { max: 1, onnotice: () => undefined })
  await applyMigrations(drizzle({ client }), { migrationsFolder: folder })
  await client.end()
  await rm(folder, { recursive: true })
}
