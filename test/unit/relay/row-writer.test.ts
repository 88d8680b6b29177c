import { expect, it } from 'vitest'
import { isRefusal } from '../../../src/relay/row-writer.ts'
import { StorageError } from '../../../src/storage/database.ts'

const refuses = (sqlState: string | null) => isRefusal(new StorageError('write exchanges', sqlState, null))

it.each(['22P02', '22021', '23502', '23514', '54000', '21000'])('%s is the row’s fault', (sqlState) => {
  expect(refuses(sqlState)).toBe(true)
})

// A statement that was cancelled, a lock not to be had, a deadlock, an end of the session, a fault of the database's disk, another release's tables.
it.each([
  '57014',
  '55P03',
  '55006',
  '40P01',
  '40001',
  '25P03',
  '25P04',
  '58030',
  'XX000',
  'XX001',
  '42P01',
  '0A000',
  '53100',
  '57P01',
  'timeout',
  null,
])('%s is not, and no row is lost by it', (sqlState) => {
  expect(refuses(sqlState)).toBe(false)
})

it('what was thrown before the database was asked is', () => {
  expect(isRefusal(new TypeError('no row'))).toBe(true)
})

it('bounds that a default partition has for a moment are not: the row is written when they are gone', () => {
  expect(isRefusal(new StorageError('write exchanges', '23514', 'default_bounds'))).toBe(false)
  expect(isRefusal(new StorageError('write exchanges', '23514', 'default_bounds_102008'))).toBe(false)
})
