import { resolve } from 'node:path'
import type { AppConfig } from './app/core.ts'
import { type Config, type Environment, readConfig } from './config.ts'
import { type MasterKeys, readMasterKeys } from './crypto/sealed-secret.ts'
import { checkClock, type SeenClock } from './doctor/clock.ts'
import { checkDatabase } from './doctor/database.ts'
import { checkPing, checkSignature } from './doctor/endpoint.ts'
import { type CheckName, checkNames, type Finding, findingsOf, lineOf, summed, verdictOf } from './doctor/finding.ts'
import { checkAtMeta } from './doctor/meta.ts'
import type { Probed } from './doctor/probe.ts'
import { checkReachable, checkTls } from './doctor/public-url.ts'
import { checkSpool } from './doctor/spool.ts'
import { graphPartOf, openWabas, type Patient } from './doctor/wabas.ts'
import { createAddressGuard } from './egress/address-guard.ts'
import { createDispatchers } from './egress/dispatcher.ts'
import { createResolver } from './egress/resolver.ts'
import { createGraph } from './graph/client.ts'
import { withSettled } from './serve.ts'
import { type Database, openDatabase } from './storage/database.ts'
import { missingFrom } from './storage/embedded.ts'

export interface DoctorOptions {
  readonly json: boolean
  readonly out: (line: string) => void
  /** Settings of the deployment; this process's own unless given. */
  readonly environment?: Environment
}

/** Looks at the deployment of the settings and prints one line a finding. Returns the exit code: 1 when something fails. */
export async function runDoctor({ json, out, environment }: DoctorOptions): Promise<number> {
  const findings = await examineFound(readConfig(environment))
  const verdict = verdictOf(findings)
  if (json) out(JSON.stringify({ verdict, findings }, null, 2))
  else for (const finding of findings) out(lineOf(finding))
  return verdict === 'fail' ? 1 : 0
}

/** In embedded mode the server is started unless it runs, but nothing is made: what the doctor made itself would look well. */
async function examineFound(given: Config): Promise<Finding[]> {
  const missing = given.DATABASE_URL === undefined ? await missingFrom(given.DATA_DIR) : null
  if (missing !== null) {
    const advice = 'a service makes it when it starts there: set DATA_DIR or DATABASE_URL as the service has it'
    return [findingsOf('database').fail(`DATA_DIR (${resolve(given.DATA_DIR)}) has no ${missing}`, advice)]
  }
  return withSettled(
    given,
    () => undefined,
    { migrates: false },
    (config) => examine(config),
  )
}

export interface ExamineOptions {
  /** An authority besides the public ones; for tests. */
  readonly ca?: string
}

/** All findings, in the order of checkNames. */
export async function examine(config: AppConfig, { ca }: ExamineOptions = {}): Promise<Finding[]> {
  const database = openDatabase({ url: config.DATABASE_URL, prepare: config.DATABASE_PREPARE })
  try {
    const publicUrl = new URL(config.PUBLIC_URL ?? listenerUrl(config))
    const { finding: reached, answer } = await checkReachable(publicUrl)
    const certificate = await checkTls(publicUrl, { ca })
    const stored = await checkDatabase(database, config.LOG_RETENTION_DAYS)
    const clock = checkClock([...clockOf(answer), ...(stored.clock === null ? [] : [stored.clock])])
    const spool = await checkSpool(config.DATA_DIR)
    const ofWabas = stored.isUsable
      ? await examineWabas(config, database, publicUrl, reached)
      : notChecked('see database', ['ping', 'signature', 'master-key', 'graph-token', 'graph-key'])
    const all = [reached, certificate, clock, ...stored.findings, spool, ...ofWabas]
    return all.toSorted((a, b) => checkNames.indexOf(a.check) - checkNames.indexOf(b.check))
  } finally {
    await database.close()
  }
}

function listenerUrl({ HOST, PORT }: AppConfig): string {
  const host = HOST === '0.0.0.0' ? '127.0.0.1' : HOST === '::' ? '::1' : HOST
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT}`
}

async function examineWabas(config: AppConfig, database: Database, url: URL, reached: Finding): Promise<Finding[]> {
  const masterKeys = readMasterKeys(config.MASTER_KEY, config.MASTER_KEYS_PREVIOUS)
  const { patients, finding } = await openWabas(database, masterKeys, config.META_APP_SECRETS)
  const [first] = patients
  if (first === undefined)
    return [
      finding,
      ...notChecked('register a WABA: POST /v1/wabas', ['ping', 'signature', 'graph-token', 'graph-key']),
    ]
  const atMeta = await examineAtMeta(config, database, masterKeys, patients)
  if (reached.level === 'fail') return [finding, ...atMeta, ...notChecked('see reachable', ['ping', 'signature'])]
  const pings = await inTurn(patients, (patient) => checkPing(url, patient))
  const told = summed(pings, (count) => wellOf('ping', count, 'answered, and the answer decrypts'))
  return [finding, ...told, await checkSignature(url, first), ...atMeta]
}

async function examineAtMeta(
  config: AppConfig,
  database: Database,
  masterKeys: MasterKeys,
  patients: readonly Patient[],
): Promise<Finding[]> {
  const resolver = createResolver()
  const guarded = createDispatchers({ guard: createAddressGuard({ allowHttp: false, allowedNetworks: [] }), resolver })
  const { GRAPH_API_URL: baseUrl, GRAPH_API_VERSION: version } = config
  const graph = createGraph({ baseUrl, version, resolver, guarded })
  try {
    const found = await inTurn(patients, async (patient) =>
      checkAtMeta(graph, { ...patient, ...(await graphPartOf(database, masterKeys, patient)) }),
    )
    const of = (check: CheckName) => found.flat().filter((finding) => finding.check === check)
    return [
      ...summed(of('graph-token'), (count) => wellOf('graph-token', count, 'Meta takes the access token')),
      ...summed(of('graph-key'), (count) => wellOf('graph-key', count, 'Meta holds a key of ours', 'numbers')),
    ]
  } finally {
    await graph.close()
    await guarded.close()
    resolver.close()
  }
}

function wellOf(check: CheckName, count: number, what: string, things = 'WABAs'): Finding {
  return findingsOf(check).ok(`${count} ${things}: ${what}`)
}

function notChecked(why: string, checks: readonly CheckName[]): Finding[] {
  return checks.map((check) => findingsOf(check).warn('not checked', why))
}

function clockOf(answer: Probed): SeenClock[] {
  if (!answer.ok || answer.date === null) return []
  const theirs = Date.parse(answer.date)
  // A Date header is cut to whole seconds: half a second more is the middle of what it may be.
  return Number.isNaN(theirs) ? [] : [{ of: 'the relay', theirs: theirs + 500, ours: answer.at }]
}

/** Some at a time, so that many WABAs are no flood. */
async function inTurn<Item, Result>(items: readonly Item[], check: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (let at = 0; at < items.length; at += 8) results.push(...(await Promise.all(items.slice(at, at + 8).map(check))))
  return results
}
