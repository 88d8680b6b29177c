import postgres from 'postgres'
import { relayCpuMs, rsaCpuMs } from '../cpu.ts'
import { makeRows } from '../log-rows.ts'
import { type Extent, type Finding, ms, type Part, times, whole } from '../part.ts'
import { populate } from '../populate.ts'
import { type Preparation, type RunningRelevo, withRelevo } from '../running-relevo.ts'

/** (e): CPU per exchange beside RSA as there are more workspaces, as the payloads grow, and where rows were asked for as the log does. */
export const growth: Part = async function* (extent) {
  yield* compare([10, extent.workspaces], {
    name: (count) => `${whole(count)} workspaces with 10 webhooks each`,
    measure: (count) => measure(extent, { prepare: (databaseUrl) => populate(databaseUrl, count) }),
  })
  yield* compare([500, 8_000, 64_000], {
    name: (bytes) => `${bytes / 1000} kB of payload each way`,
    measure: (bytes) => measure(fewer(extent, bytes), { answerBytes: bytes }, { payload: formOf(bytes) }),
  })
}

/** Of large ones each takes many times as long, and varies less for that. */
function fewer(extent: Extent, bytes: number): Extent {
  const share = bytes > 10_000 ? 4 : 1
  return { ...extent, warmUp: Math.ceil(extent.warmUp / share), exchanges: Math.ceil(extent.exchanges / share) }
}

/** The part of (e) that takes many minutes: an exchange log of 10 million rows without payloads. */
export const growthOfLog: Part = async function* (extent) {
  yield* compare([0, extent.rows], {
    name: (count) => `${whole(count)} rows in the exchange log`,
    measure: (count) => measure(extent, {}, { before: (relevo) => fillLog(relevo, count) }),
  })
}

interface Sizes {
  name(size: number): string
  /** CPU per exchange and of one RSA decryption, ms. */
  measure(size: number): Promise<{ readonly spent: number; readonly rsa: number }>
}

/** Each beside the first. */
async function* compare(sizes: readonly number[], { name, measure }: Sizes): AsyncGenerator<Finding> {
  let smallest: number | null = null
  for (const size of sizes) {
    const { spent, rsa } = await measure(size)
    const ratio = spent / rsa
    smallest ??= ratio
    yield [name(size), `${ms(spent)}, ratio rsa ${times(ratio)}, ${times(ratio / smallest)} of the smallest`]
  }
}

interface Doing {
  readonly payload?: Record<string, string>
  readonly before?: (relevo: RunningRelevo) => Promise<void>
}

async function measure({ warmUp, exchanges }: Extent, preparation: Preparation, { payload, before }: Doing = {}) {
  return withRelevo(async (relevo) => {
    await before?.(relevo)
    const first = rsaCpuMs()
    const spent = await relayCpuMs(relevo, { warmUp, measured: Math.ceil(exchanges / 2) }, payload)
    return { spent, rsa: (first + rsaCpuMs()) / 2 }
  }, preparation)
}

/** A form of short fields, so many bytes of values. */
function formOf(bytes: number): Record<string, string> {
  const each = 50
  return Object.fromEntries(Array.from({ length: bytes / each }, (_, at) => [`field_${at}`, 'a'.repeat(each)]))
}

async function fillLog({ api, databaseUrl, play }: RunningRelevo, rows: number): Promise<void> {
  if (rows === 0) return
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => undefined })
  await play(1)
  const { id } = await api('POST', '/v1/flows', { wabaId: 'bench', metaFlowId: '1' })
  await makeRows(sql, rows, Date.now(), String(id))
  await sql`checkpoint`
  await sql.end()
}
