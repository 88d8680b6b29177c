import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { addsForeignKey } from '../../src/storage/citus/distribution.ts'
import { knownMigrations } from '../../src/storage/migrations.ts'
import { costOf, newTables } from '../../src/storage/statement-locks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const migrations = knownMigrations()

/** Of squawk's rules, those that do not hold here. */
const notOurs = [
  'prefer-robust-stmts', // Each migration is one transaction and noted in it.
  'require-lock-timeout', // `migrate` sets one, and tries again.
  'require-statement-timeout', // A long statement is what --plan tells of; to stop it half-way helps nobody.
  'prefer-bigint-over-int', // Counts and milliseconds, no keys.
  'prefer-bigint-over-smallint',
]

/** What may stay as it is, with why. Migrations that have landed are never edited. */
const excepted: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '0000_first': { 'identifier-too-long': 'PostgreSQL shortens it, the same everywhere' },
  '0001_tenants': {
    'require-concurrent-index-creation': 'before the first release: no table has many rows',
    'ban-drop-not-null': 'before the first release: no earlier version runs on it',
  },
  '0002_durable_rows': { 'require-concurrent-index-creation': 'before the first release' },
  '0003_events': {
    'require-concurrent-index-creation': 'before the first release',
    'renaming-table':
      'the table becomes a partition of its own name (docs/adr/0004-log-by-day.md); before the first release',
  },
  '0007_expunged_answers': {
    'require-concurrent-index-creation': 'before the first release, and the table holds a day of API calls',
  },
}

interface Finding {
  readonly file: string
  readonly rule_name: string
}

/** Exit code 1 says that there are findings. */
async function lint(files: readonly string[], stdin?: string): Promise<Finding[]> {
  const flags = ['--assume-in-transaction', '--pg-version', '15', '--reporter', 'json', '--exclude', notOurs.join()]
  const running = promisify(execFile)(
    process.execPath,
    [join(root, 'node_modules/squawk-cli/js/bin/squawk'), ...flags, ...files],
    {
      cwd: root,
    },
  )
  if (stdin !== undefined) running.child.stdin?.end(stdin)
  const { stdout } = await running.catch((error: { stdout: string }) => error)
  return JSON.parse(stdout)
}

describe('migrations', () => {
  it('rewrite no table and hold no lock for long, but for the exceptions, which are needed', async () => {
    const found = await lint(migrations.map(({ name }) => `migrations/${name}.sql`))
    const named = new Set(found.map(({ file, rule_name }) => `${file.replace(/^.*\/|\.sql$/g, '')} ${rule_name}`))
    const allowed = Object.entries(excepted).flatMap(([name, rules]) =>
      Object.keys(rules).map((rule) => `${name} ${rule}`),
    )
    expect([...named].sort()).toEqual(allowed.sort())
  })

  it('are seen through by the linter', async () => {
    const found = await lint(
      [],
      'alter table clients alter column name type varchar(20); create index i on clients (name);',
    )
    const rules = new Set(found.map(({ rule_name }) => rule_name))
    expect([...rules]).toEqual(expect.arrayContaining(['changing-column-type', 'require-concurrent-index-creation']))
  })

  it('have no statement that --plan does not know, and none that has everyone wait', () => {
    const heavy = migrations.flatMap(({ name, statements }) => {
      const made = newTables(statements)
      return statements
        .map((statement) => costOf(statement, (table) => made.has(table)))
        .filter(({ blocks, rewrites }) => blocks === 'all' || rewrites)
        .map(({ why }) => `${name}: ${why}`)
    })
    expect(heavy).toEqual([])
  })

  // Citus refuses one from a table that is not distributed yet, and migrate adds it there when it is (src/storage/citus/distribution.ts).
  it('add foreign keys in statements of their own', () => {
    const all = migrations.flatMap(({ statements }) => statements)
    const withKeys = all.filter((statement) => /\bforeign key\b|\breferences\b/i.test(statement))
    expect(withKeys.length).toBeGreaterThanOrEqual(11)
    expect(withKeys.filter((statement) => !addsForeignKey(statement))).toEqual([])
  })
})

describe('what a statement costs', () => {
  it.each([
    ['CREATE TABLE "a" ("id" text)', 'none', false],
    ['CREATE INDEX "i" ON "a" USING btree ("id");', 'writes', false],
    ['create index concurrently "i" on "a" ("id")', 'none', false],
    ['ALTER TABLE "a" ADD COLUMN "b" boolean DEFAULT false NOT NULL;', 'instant', false],
    ['ALTER TABLE "a" ADD COLUMN "b" uuid DEFAULT gen_random_uuid() NOT NULL;', 'all', true],
    ['ALTER TABLE "a" ALTER COLUMN "b" SET DATA TYPE bigint;', 'all', true],
    ['ALTER TABLE "a" ALTER COLUMN "b" SET NOT NULL;', 'all', false],
    ['ALTER TABLE "a" ALTER COLUMN "b" DROP NOT NULL;', 'instant', false],
    ['ALTER TABLE "a" ADD CONSTRAINT "c" FOREIGN KEY ("b") REFERENCES "public"."d"("id");', 'writes', false],
    ['ALTER TABLE "a" ADD CONSTRAINT "c" CHECK (b > 0) NOT VALID', 'instant', false],
    ['ALTER TABLE "a" ADD CONSTRAINT "c" UNIQUE ("b")', 'all', false],
    ['-- by hand\nINSERT INTO "a" VALUES (1)', 'none', false],
    ['VACUUM FULL a', 'all', false],
  ] as const)('%s', (statement, blocks, rewrites) => {
    expect(costOf(statement)).toMatchObject({ blocks, rewrites })
  })

  it('is nothing on a table that the same migration makes', () => {
    const isNew = (table: string) => table === 'a'
    expect(costOf('CREATE INDEX "i" ON "a" USING btree ("id");', isNew).blocks).toBe('none')
    expect(costOf('CREATE INDEX "i" ON "b" USING btree ("id");', isNew).blocks).toBe('writes')
    expect(newTables(['-- x\nCREATE TABLE "a" (id text)', 'CREATE TABLE IF NOT EXISTS b ()'])).toEqual(
      new Set(['a', 'b']),
    )
  })
})
