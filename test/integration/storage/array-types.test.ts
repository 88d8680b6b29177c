import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../../src/storage/database.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

/** Arrays to PostgreSQL and back: the driver's own knowledge of them is not used (src/storage/array-types.ts). */
let made: TestDatabase
let database: Database

beforeAll(async () => {
  made = await createTestDatabase()
  database = openDatabase(made.settings)
})
afterAll(async () => {
  await database.close()
  await made.drop()
})

const text = fc.option(
  fc.oneof(fc.string(), fc.constantFrom('NULL', 'null', '', ' ', '"', '\\', '{', '}', ',', '\n', '\u{1f600}')),
)
const withoutNul = text.filter((value) => !value?.includes('\0'))

it('any texts come back as they were', async () => {
  const property = fc.asyncProperty(fc.array(withoutNul), async (values) => {
    const [row] = await database.sql`select ${values}::text[] as values, ${values}::text[]::varchar[] as same`
    expect(row).toEqual({ values, same: values })
  })
  await fc.assert(property, { numRuns: 300 })
})

it('elements of other types come back as the client reads them alone', async () => {
  const uuid = '01a1fd22-53b0-745d-947a-b8d771762b94'
  const [row] = await database.sql`
    select ${[uuid, null]}::uuid[] as uuids, ${[1, -2]}::int[] as integers, ${[1.5, null]}::float8[] as floats,
      array[true, false] as flags, array['epoch'::timestamptz] as times, array[]::text[] as none,
      array['\\x00ff'::bytea] as bytes, array['{"a":[1,"b"]}'::jsonb, null] as objects, array[3::smallint] as small`
  expect(row).toEqual({
    uuids: [uuid, null],
    integers: [1, -2],
    floats: [1.5, null],
    flags: [true, false],
    times: [new Date(0)],
    none: [],
    bytes: [Buffer.from([0, 255])],
    objects: [{ a: [1, 'b'] }, null],
    small: [3],
  })
})
