/** What a statement of a migration makes others wait for. */
export interface StatementCost {
  /**
   * `none`: only rows and tables that nobody uses yet. `instant`: everyone, for the moment that the catalogue takes, once the lock is had. `writes`, `all`:
   * writers, or everyone, for as long as the table is read or rewritten: minutes for a large one.
   */
  readonly blocks: 'none' | 'instant' | 'writes' | 'all'
  readonly rewrites: boolean
  readonly why: string
}

type Rule = readonly [pattern: RegExp, cost: StatementCost]

const cost = (blocks: StatementCost['blocks'], why: string, rewrites = false): StatementCost => ({
  blocks,
  rewrites,
  why,
})

/** The first that fits; what drizzle-kit writes and what we write by hand. Unknown statements count as the worst. */
const rules: readonly Rule[] = [
  [/^create table\b/, cost('none', 'a new table')],
  [/^(create|drop) index concurrently\b/, cost('none', 'others go on')],
  [/^create (unique )?index\b/, cost('writes', 'writers wait while the index is built')],
  [/^alter table \S+ add constraint .*\bnot valid$/s, cost('instant', 'rows are not looked at')],
  [/^alter table \S+ validate constraint\b/, cost('none', 'rows are read, others go on')],
  [
    /^alter table \S+ add constraint .*\bforeign key\b/s,
    cost('writes', 'writers of both tables wait while rows are checked'),
  ],
  [/^alter table \S+ add constraint .*\busing index\b/s, cost('instant', 'the index is there already')],
  [/^alter table \S+ add constraint\b/, cost('all', 'everyone waits while rows are checked or an index is built')],
  [
    /^alter table \S+ add column .*(\bgenerated\b|\bserial\b|\bdefault (gen_random_uuid|random|clock_timestamp|nextval)\b)/s,
    cost('all', 'the table is rewritten', true),
  ],
  [/^alter table \S+ add column\b/, cost('instant', 'a default is kept beside the table')],
  [/^alter table \S+ alter column \S+ (set data )?type\b/, cost('all', 'the table is rewritten', true)],
  [/^alter table \S+ alter column \S+ set not null\b/, cost('all', 'everyone waits while rows are checked')],
  [/^alter table \S+ (drop|rename|alter column \S+ (drop|set default))\b/, cost('instant', 'the catalogue alone')],
  [/^alter index \S+ rename\b/, cost('instant', 'the catalogue alone')],
  [/^drop (table|index)\b/, cost('instant', 'the catalogue alone')],
  [/^comment on\b/, cost('none', 'the catalogue alone')],
  [/^(insert|update|delete|with|select)\b/, cost('none', 'rows only')],
  [/^do\b/, cost('instant', 'by hand: read it')],
]

/** What a statement costs those who use the database meanwhile. `isNew`: whether it is about a table that its own migration makes. */
export function costOf(statement: string, isNew: (table: string) => boolean = () => false): StatementCost {
  const plain = withoutComments(statement).trim().replace(/;$/, '').toLowerCase()
  const found = rules.find(([pattern]) => pattern.test(plain))?.[1] ?? cost('all', 'not known to this list')
  const table = tableOf(plain)
  if (table !== null && isNew(table) && found.blocks !== 'none') return cost('none', 'of a table that is new')
  return found
}

/** The tables that a migration makes. */
export function newTables(statements: readonly string[]): Set<string> {
  return new Set(
    statements.flatMap((statement) => {
      const made = /^create table (?:if not exists )?"?(\w+)"?/i.exec(withoutComments(statement).trim())?.[1]
      return made === undefined ? [] : [made.toLowerCase()]
    }),
  )
}

function tableOf(plain: string): string | null {
  return /^(?:create (?:unique )?index .*? on|alter table) (?:only )?"?(\w+)"?/s.exec(plain)?.[1] ?? null
}

function withoutComments(statement: string): string {
  return statement.replace(/^\s*--.*$/gm, '')
}
