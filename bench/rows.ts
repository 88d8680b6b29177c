import postgres from 'postgres'
import { migrate } from '../src/migrate.ts'
import { installCitusStandIn } from '../test/support/citus-stand-in.ts'
import { relayCpuMs, rsaCpuMs } from './cpu.ts'
import { cpuMsOf } from './process-cpu.ts'
import { type RunningRelevo, withRelevo } from './running-relevo.ts'

/**
 * `npm run bench:rows [-- --citus]`: what one exchange leaves in the database and costs there: bytes of rows and indexes, of WAL, CPU. For
 * docs/scaling.md. `--citus`: with the statements that Citus gets, on the tests' stand-in: what Citus does with them is not in it.
 */
const [warmUp, measured] = [500, 4000]

const isCitus = process.argv.includes('--citus')
const environment: Record<string, string> = isCitus ? { DATABASE_BACKEND: 'citus' } : {}

async function prepare(databaseUrl: string): Promise<void> {
  if (!isCitus) return
  await installCitusStandIn(databaseUrl)
  await migrate(databaseUrl, 'citus')
}

async function measure(relevo: RunningRelevo): Promise<void> {
  const sql = postgres(relevo.databaseUrl, { max: 1, onnotice: () => undefined })
  await relevo.play(warmUp, 16)
  const before = await state(sql)
  const relayMs = await relayCpuMs(relevo, { warmUp: 0, measured })
  // What is under way is written within a second.
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const after = await state(sql)
  const each = (of: (one: State) => number) => (of(after) - of(before)) / measured
  console.log(`exchanges rows     ${(after.rows - before.rows).toFixed(0)}`)
  console.log(
    `exchanges          ${each((s) => s.exchanges).toFixed(0)} bytes a row, ${each((s) => s.indexes).toFixed(0)} of them indexes`,
  )
  console.log(
    `flow_responses     ${each((s) => s.flowResponses).toFixed(0)} bytes an exchange (each with a flow token of its own)`,
  )
  const [payloads] = await sql`
    select avg(coalesce(pg_column_size(envelope), 0) + coalesce(pg_column_size(answer), 0))::float8 as bytes from exchanges`
  console.log(`payloads           ${payloads?.bytes.toFixed(0)} bytes a row, emptied after PAYLOAD_RETENTION_DAYS`)
  console.log(`WAL                ${each((s) => s.wal).toFixed(0)} bytes an exchange`)
  console.log(`transactions       ${each((s) => s.commits).toFixed(2)} an exchange`)
  console.log(`PostgreSQL CPU     ${each((s) => s.cpuMs).toFixed(2)} ms an exchange`)
  console.log(`relay CPU          ${relayMs.toFixed(2)} ms an exchange; one RSA decryption ${rsaCpuMs().toFixed(2)} ms`)
  await sql.end()
}

await withRelevo(measure, { prepare, environment })

interface State {
  readonly rows: number
  readonly exchanges: number
  readonly indexes: number
  readonly flowResponses: number
  readonly wal: number
  readonly commits: number
  readonly cpuMs: number
}

async function state(sql: postgres.Sql): Promise<State> {
  const [row] = await sql`
    select (select count(*)::float8 from exchanges) as rows,
      (select sum(pg_total_relation_size(relid))::float8 from pg_partition_tree('exchanges') where isleaf) as exchanges,
      (select sum(pg_indexes_size(relid))::float8 from pg_partition_tree('exchanges') where isleaf) as indexes,
      pg_total_relation_size('flow_responses')::float8 as flow_responses,
      pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal,
      (select xact_commit::float8 from pg_stat_database where datname = current_database()) as commits`
  const processes = await sql`select pid from pg_stat_activity where pid <> pg_backend_pid()`
  const cpuMs = processes.reduce((sum, { pid }) => sum + cpuMsOf(pid), 0)
  return { ...(row as unknown as State), flowResponses: row?.flow_responses, cpuMs }
}
