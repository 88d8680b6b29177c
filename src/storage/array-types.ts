import type postgres from 'postgres'

/** PostgreSQL's built-in types whose arrays we exchange with it: oid of the element, oid of the array. */
const arrayTypes = {
  boolean: [16, 1000],
  bytea: [17, 1001],
  smallint: [21, 1005],
  integer: [23, 1007],
  bigint: [20, 1016],
  float8: [701, 1022],
  text: [25, 1009],
  varchar: [1043, 1015],
  uuid: [2950, 2951],
  timestamptz: [1184, 1185],
  json: [114, 199],
  jsonb: [3802, 3807],
} as const

type Codecs = Record<number, ((value: unknown) => unknown) | undefined>

/**
 * Tells a client how arrays are written and read, each element as the client does alone. postgres.js asks the database for this on each new
 * connection, and when that query fails nobody can catch it: the process ends (porsager/postgres issue 1192). It is told `fetch_types: false`.
 */
export function addArrayTypes({ options }: postgres.Sql): void {
  const { serializers, parsers } = options as unknown as { serializers: Codecs; parsers: Codecs }
  for (const [element, array] of Object.values(arrayTypes)) {
    serializers[array] = (value) => (Array.isArray(value) ? writeArray(value, serializers[element]) : value)
    parsers[array] = (text) => readArray(String(text), parsers[element])
  }
}

/** An array literal of one dimension. Null is NULL. */
export function writeArray(values: readonly unknown[], write: ((value: unknown) => unknown) | undefined): string {
  const elements = values.map((value) => {
    if (value === null || value === undefined) return 'NULL'
    return `"${String(write === undefined ? value : write(value)).replace(/["\\]/g, '\\$&')}"`
  })
  return `{${elements.join(',')}}`
}

/** Reads an array literal of one dimension, as PostgreSQL prints it. */
export function readArray(literal: string, read: ((text: string) => unknown) | undefined): unknown[] {
  // Quoted, with backslashes before what would end it; or bare, and then without any of these.
  return [...literal.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"|([^,]+)/gs)].map(([, quoted, bare]) => {
    if (bare === 'NULL') return null
    const text = quoted?.replace(/\\(.)/gs, '$1') ?? bare ?? ''
    return read === undefined ? text : read(text)
  })
}
