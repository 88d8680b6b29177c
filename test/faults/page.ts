import { inWords } from './in-words.ts'
import {
  type DatabaseRow,
  type DeliveryRow,
  databaseRows,
  deliveryRows,
  type MetaRow,
  metaRows,
  type TenantRow,
  tenantRows,
} from './matrix.ts'

interface Column<Row> {
  readonly title: string
  readonly cell: (row: Row) => string
}

/** How the rows of one hop are told: on docs/faults.md, and as names of tests. */
export type Table<Row> = readonly Column<Row>[]

const call = { toServer: 'request', toClient: 'answer' }
const queries = { toServer: 'queries', toClient: 'results' }
const list = (...words: (string | undefined)[]) => words.filter((word) => word !== undefined).join(', ')

const tenant: Table<TenantRow> = [
  { title: 'fault', cell: ({ fault }) => inWords(fault, call) },
  {
    title: 'where',
    cell: ({ on, over, reply }) =>
      list(
        on && 'kept connection',
        over,
        reply && { large: '100 kB', chunked: 'chunked', 'to the end': 'no length' }[reply],
      ),
  },
  { title: 'Meta gets', cell: ({ outcome }) => (outcome === 'replied' ? 'the reply' : 'the fallback') },
  { title: 'outcome', cell: ({ outcome }) => [outcome].flat().join(' or ') },
  { title: 'how far it came', cell: ({ came }) => came ?? '' },
]

const delivery: Table<DeliveryRow> = [
  { title: 'fault', cell: ({ fault }) => inWords(fault, call) },
  { title: 'first attempt', cell: ({ failure }) => failure ?? 'delivered' },
  { title: 'the tenant had it', cell: ({ had }) => (had ? 'yes' : 'no') },
  {
    title: 'delivered',
    cell: ({ failure, lifted }) =>
      failure !== null ? 'by the next attempt' : lifted ? 'once it is lifted' : 'under it',
  },
]

const database: Table<DatabaseRow> = [
  { title: 'fault', cell: ({ fault }) => inWords(fault, queries) },
  { title: 'where', cell: ({ on }) => (on === 'live' ? 'connections that are there' : 'all connections') },
  {
    title: 'client and conversation',
    cell: ({ records, budgetMs }) => {
      const within = budgetMs === undefined ? '' : ` (with ${budgetMs} ms for them)`
      return { sent: 'sent', null: 'null', either: 'sent or null' }[records] + within
    },
  },
  { title: 'row when the answer is out', cell: ({ kept }) => (kept === 'either' ? 'database or spool' : kept) },
  { title: 'as before', cell: ({ again }) => (again === 'lasting' ? 'while it lasts' : 'once it is lifted') },
]

const meta: Table<MetaRow> = [
  { title: 'fault', cell: ({ fault }) => inWords(fault, call) },
  { title: 'from', cell: ({ from }) => from },
  { title: 'Meta gets', cell: ({ metaGets }) => metaGets },
  { title: 'outcome in the log', cell: ({ outcome }) => outcome ?? 'no row' },
  { title: 'the same bytes again', cell: ({ again }) => again },
]

export const tables = { tenant, delivery, database, meta }

/** Each row with what the page says of it, as a name. */
export function named<Row>(table: Table<Row>, rows: readonly Row[]): (readonly [string, Row])[] {
  return rows.map((row) => {
    const cells = table.map(({ cell }) => cell(row)).filter((text) => text !== '')
    return [cells.join(' · '), row]
  })
}

function markdown<Row>(table: Table<Row>, rows: readonly Row[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const head = [line(table.map(({ title }) => title)), line(table.map(() => '---'))]
  return [...head, ...rows.map((row) => line(table.map(({ cell }) => cell(row))))].join('\n')
}

/** docs/faults.md. */
export function describeFaults(): string {
  return `# What a bad network does to Relevo

Made by \`npm run docs\` from \`test/faults/matrix.ts\`. Every line is a test: a small TCP proxy (\`test/support/tcp-proxy.ts\`) stands before a
tenant, before PostgreSQL or before Relevo and spoils what passes; the answer, the log and the spool must then be as the line says, and once
the fault is lifted the next exchange gets the tenant's reply. What each outcome means: [outcomes](outcomes.md).

**The faults.** *Late*: each piece comes so much later. *n bytes each m ms*, *n bytes a second*: it drips, or the line is thin. *Reset*: both ends
get an RST. *Half-closed*: the receiver gets a FIN, the other direction goes on. *Closed*: both get a FIN. *Black hole*: bytes are taken and
lost, for good. *Not read*: bytes are taken by nobody, and pass when the fault is lifted. *At once*: on a connection that idles, too. *After n
bytes*: in the middle of what is being said.

## Before a tenant that answers

An exchange has one attempt. \`replied\` after a kept connection was lost is still one: nothing of the request had left. A reply that is cut
off and says nowhere how long it was ends as \`not_json\`, because cut JSON is none. \`how far it came\` is what the exchange's \`attempt\` tells:
\`connectMs\` (request sent), \`headMs\` (head). A request that is handed to the network counts as sent.

${markdown(tenant, tenantRows)}

## Before a tenant that is told

Asynchronous deliveries, with the same id and bytes at each attempt.

${markdown(delivery, deliveryRows)}

## Before PostgreSQL

The person always gets the tenant's reply, none waits for the database, and the outcome is \`replied\`. The row, and what others are told of the
exchange, is on a disk before the answer is out: in the database, or within 200 ms in the [spool](adr/0002-spool.md). Afterwards every exchange is
in the log once, closed and in order.

${markdown(database, databaseRows)}

## Before Relevo

A call that never was whole asks no tenant and leaves no row. Once the tenant is asked, the exchange is recorded whatever becomes of the
connection, and the same bytes sent again get the first answer. *An end*: the connection ends without an answer. *Nothing*: until Meta gives up.

${markdown(meta, metaRows)}
`
}
