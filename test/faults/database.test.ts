import { afterAll, describe, it } from 'vitest'
import { Houses, runDatabaseRow } from './database-row.ts'
import { databaseRows } from './matrix.ts'
import { named, tables } from './page.ts'

const houses = new Houses(4)
afterAll(() => houses.close())

/** Rows wait for a house in their own time. */
const timeout = 120_000

/** The rows of docs/faults.md before PostgreSQL. A fault there is everybody's: no two rows are in one Relevo at a time. */
describe('before PostgreSQL', { timeout }, () => {
  it.concurrent.each(named(tables.database, databaseRows))('%s', (_name, row) =>
    houses.lend(row.budgetMs ?? 100, (house) => runDatabaseRow(house, row)),
  )
})
