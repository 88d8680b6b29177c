import { resolve } from 'node:path'
import type { AppConfig } from './app/core.ts'
import type { StartRefused } from './app/start-refused.ts'
import type { App, AppOptions } from './app.ts'
import { endInOrder } from './closing.ts'
import { type Config, readConfig } from './config.ts'
import { readMasterKeys } from './crypto/sealed-secret.ts'
import { heedSignals, ToldToEnd } from './end-signals.ts'
import { Queue } from './events/queue.ts'
import { migrate } from './migrate.ts'
import { ProcessPool } from './processes/pool.ts'
import { reseal } from './reseal.ts'
import { DataDirError, prepareDataDir } from './storage/data-dir.ts'
import { openDatabase } from './storage/database.ts'
import { type EmbeddedServer, missingFrom, startEmbedded } from './storage/embedded.ts'
import { describePlan, describeStatus, readMigrationState } from './storage/migration-report.ts'

type Print = (line: string) => void

/** Runs the service until it is told to stop; the process ends with the exit code. `print` gets the lines for people. */
export async function serve(print: Print): Promise<void> {
  const { ending } = heedSignals()
  const settled = await settle(readConfig(), print, { migrates: true, ending }).catch((error: unknown) => {
    if (error instanceof ToldToEnd) return null
    throw error
  })
  if (settled === null) return
  const { config, embedded } = settled
  let refusal: StartRefused | null = null
  const refused = (reason: StartRefused) => {
    refusal = reason
    print(reason.message)
    void closing.close()
  }
  const app = await orStop(embedded, () => createService(config, { refused }))
  if (ending.aborted) return embedded?.stop()
  let stopping: Promise<void> | null = null
  const stop = () => {
    stopping ??= app
      .close()
      .then(() => undefined)
      .finally(() => embedded?.stop())
    return stopping
  }
  const closing = endInOrder(print, async () => {
    await stop()
    return refusal === null
  })
  ending.addEventListener('abort', () => closing.close())
  try {
    print(`listening on ${await app.listen()}`)
  } catch (error) {
    // It was told to end meanwhile: that ends the process.
    if (stopping !== null) return
    closing.uninstall()
    await stop().catch(() => undefined)
    throw error
  }
}

async function createService(config: AppConfig, options: AppOptions): Promise<Pick<App, 'listen' | 'close'>> {
  if (config.WORKERS > 1) return new ProcessPool(config, options)
  // Read only here: who only starts others need not have it in memory.
  return (await import('./app.ts')).createApp(config, options)
}

/** Applies pending migrations to the database of the settings. */
export function migrateDatabase(print: Print): Promise<void> {
  return withSettled(readConfig(), print, { migrates: false }, async (config) => {
    await migrate(config.DATABASE_DIRECT_URL ?? config.DATABASE_URL, config.DATABASE_BACKEND)
    print('the database is up to date')
  })
}

/**
 * Prints what migrations are applied and which are pending, or with `plan` the statements of those and what they make others wait for. Changes nothing
 * but that an embedded server is started. Returns the exit code: of `status` 1 when `migrate` has something to do, else 0.
 */
export async function reportMigrations(print: Print, kind: 'status' | 'plan'): Promise<number> {
  return withSettled(await requireMade(readConfig()), print, { migrates: false }, async (config) => {
    const backend = config.DATABASE_BACKEND
    const database = openDatabase({ url: config.DATABASE_URL, prepare: config.DATABASE_PREPARE, backend })
    const queue = new Queue(database)
    try {
      const state = await readMigrationState(database.sql, backend)
      for (const line of kind === 'plan' ? describePlan(state) : describeStatus(state)) print(line)
      const isQueueCurrent = await queue.isCurrent()
      print(
        isQueueCurrent ? 'the queue is up to date' : 'the queue is pending: pg-boss makes or updates its own tables',
      )
      const isDone = state.pending.length === 0 && state.unfit === null && isQueueCurrent
      return kind === 'status' && !isDone ? 1 : 0
    } finally {
      await queue.close()
      await database.close()
    }
  })
}

/** Moves every stored secret to the current master key. Returns the exit code: 1 when some could not be opened. */
export async function resealSecrets(print: Print): Promise<number> {
  return withSettled(await requireMade(readConfig()), print, { migrates: true }, async (config) => {
    const database = openDatabase({ url: config.DATABASE_URL, prepare: config.DATABASE_PREPARE })
    try {
      const masterKeys = readMasterKeys(config.MASTER_KEY, config.MASTER_KEYS_PREVIOUS)
      const { resealed, unopened } = await reseal(database, masterKeys)
      print(`${resealed} stored secrets sealed anew under MASTER_KEY`)
      if (unopened > 0)
        print(`${unopened} do not open: the key they were sealed under is missing in MASTER_KEYS_PREVIOUS`)
      return unopened > 0 ? 1 : 0
    } finally {
      await database.close()
    }
  })
}

/** For commands that look at what a service made: in a folder that is not the service's they would make another and report on that. Throws DataDirError. */
async function requireMade(config: Config): Promise<Config> {
  const missing = config.DATABASE_URL === undefined ? await missingFrom(config.DATA_DIR) : null
  if (missing === null) return config
  throw new DataDirError(
    `DATA_DIR (${resolve(config.DATA_DIR)}) has no ${missing}: the first start of the service there makes it`,
  )
}

interface SettleOptions {
  /** Whether an embedded database gets its pending migrations. */
  readonly migrates: boolean
}

/**
 * Runs a command's work on the database of the settings, and stops an embedded server after it. With one a signal ends nothing half-way: it is
 * obeyed before the work, which throws ToldToEnd, or changes nothing, because the work ends by itself.
 */
export async function withSettled<Result>(
  config: Config,
  print: Print,
  options: SettleOptions,
  work: (config: AppConfig) => Promise<Result>,
): Promise<Result> {
  const heeded = config.DATABASE_URL === undefined ? heedSignals() : null
  try {
    const settled = await settle(config, print, { ...options, ending: heeded?.ending })
    try {
      return await work(settled.config)
    } finally {
      await settled.embedded?.stop()
    }
  } finally {
    heeded?.release()
  }
}

/**
 * Embedded mode makes what was not given: contract.md §2. Whoever gets `embedded` stops it: its session keeps the process alive. Told to end, it is
 * stopped as soon as it can be, which is once it has started; throws ToldToEnd then.
 */
async function settle(
  config: Config,
  print: Print,
  { migrates, ending }: SettleOptions & { readonly ending: AbortSignal | undefined },
): Promise<{ config: AppConfig; embedded: EmbeddedServer | null }> {
  const { DATABASE_URL, MASTER_KEY, ADMIN_TOKEN } = config
  if (DATABASE_URL !== undefined && MASTER_KEY !== undefined && ADMIN_TOKEN !== undefined) {
    return { config: { ...config, DATABASE_URL, MASTER_KEY, ADMIN_TOKEN }, embedded: null }
  }
  const made = await prepareDataDir(config.DATA_DIR)
  const embedded = await startEmbedded({ dataDir: config.DATA_DIR, processes: config.WORKERS }).catch(
    (error: unknown) => {
      // Ctrl-C reaches the programs that it runs, too.
      throw ending?.aborted ? new ToldToEnd() : error
    },
  )
  print(`embedded PostgreSQL ${embedded.adopted ? 'found running' : 'started'} in ${config.DATA_DIR}`)
  if (MASTER_KEY === undefined) print(`master key in ${made.masterKeyFile}`)
  if (ADMIN_TOKEN === undefined) print(`admin token in ${made.adminTokenFile}`)
  if (migrates && !ending?.aborted) await orStop(embedded, () => migrate(embedded.url))
  if (ending?.aborted) {
    await embedded.stop()
    throw new ToldToEnd()
  }
  const filled = { MASTER_KEY: MASTER_KEY ?? made.masterKey, ADMIN_TOKEN: ADMIN_TOKEN ?? made.adminToken }
  return { config: { ...config, ...filled, DATABASE_URL: embedded.url }, embedded }
}

/** Runs a step after which the embedded server is still needed; where it fails nobody else would stop it. */
async function orStop<Result>(embedded: EmbeddedServer | null, step: () => Promise<Result>): Promise<Result> {
  try {
    return await step()
  } catch (error) {
    await embedded?.stop().catch(() => undefined)
    throw error
  }
}
