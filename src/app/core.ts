import type { DestinationStream } from 'pino'
import type { Config } from '../config.ts'
import { type MasterKeys, readMasterKeys } from '../crypto/sealed-secret.ts'
import { type AddressGuard, createAddressGuard } from '../egress/address-guard.ts'
import type { ConnectorOptions } from '../egress/connector.ts'
import { createDispatchers, type Dispatchers } from '../egress/dispatcher.ts'
import { createResolver } from '../egress/resolver.ts'
import { Backlog } from '../events/backlog.ts'
import { Queue } from '../events/queue.ts'
import { Unsealer } from '../events/webhook-signing.ts'
import type { JobParts } from '../maintenance/jobs.ts'
import { createLog, type Log } from '../ops/logger.ts'
import { LoopClock } from '../ops/loop-clock.ts'
import { createMetrics, type Metrics } from '../ops/metrics.ts'
import { createTraces, type Traces } from '../ops/traces.ts'
import { ExchangeLine } from '../relay/exchange-line.ts'
import { type Database, openDatabase } from '../storage/database.ts'

/** A Config with the three that embedded mode makes for itself. */
export interface AppConfig extends Config {
  readonly DATABASE_URL: string
  readonly MASTER_KEY: string
  readonly ADMIN_TOKEN: string
}

export interface CoreOptions {
  readonly logDestination?: DestinationStream
  /** Certificates that webhooks may present besides the public ones; for tests. */
  readonly webhookCa?: string
}

/** What the parts of all roles are made of. */
export interface Core {
  readonly config: AppConfig
  readonly log: Log
  readonly metrics: Metrics
  /** Null: none are made. */
  readonly traces: Traces | null
  readonly masterKeys: MasterKeys
  readonly database: Database
  readonly unsealer: Unsealer
  readonly queue: Queue
  readonly backlog: Backlog
  readonly guard: AddressGuard
  readonly egress: ConnectorOptions
  /** To webhooks, for exchanges and tests of webhooks. */
  readonly dispatchers: Dispatchers
  readonly clock: LoopClock
  /** Empty where no exchanges come. */
  readonly line: ExchangeLine
  readonly keeping: JobParts
  /** After all that use it. */
  close(): Promise<void>
}

/** Makes what every role needs. Nothing is started. */
export function createCore(config: AppConfig, options: CoreOptions): Core {
  const log = createLog(config.LOG_LEVEL, options.logDestination)
  const metrics = createMetrics()
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_SAMPLER_ARG: ratio } = config
  const traces = endpoint === undefined ? null : createTraces({ endpoint, ratio, log, metrics })
  const masterKeys = readMasterKeys(config.MASTER_KEY, config.MASTER_KEYS_PREVIOUS)
  const database = openDatabase({
    url: config.DATABASE_URL,
    directUrl: config.DATABASE_DIRECT_URL,
    prepare: config.DATABASE_PREPARE,
    backend: config.DATABASE_BACKEND,
  })
  const guard = createAddressGuard({
    allowHttp: config.WEBHOOK_ALLOW_HTTP,
    allowedNetworks: config.WEBHOOK_ALLOWED_NETWORKS,
  })
  const resolver = createResolver()
  const egress = { guard, resolver, ...(options.webhookCa === undefined ? {} : { tls: { ca: options.webhookCa } }) }
  const dispatchers = createDispatchers(egress)
  const unsealer = new Unsealer(masterKeys, (place) =>
    log.error(place, 'a stored value does not open under MASTER_KEY: it is left out'),
  )
  const queue = new Queue(database)
  const backlog = new Backlog(database, log, metrics)
  const keeping = {
    database,
    log,
    metrics,
    payloadDays: config.PAYLOAD_RETENTION_DAYS,
    logDays: config.LOG_RETENTION_DAYS,
  }
  const own = {
    config,
    log,
    metrics,
    traces,
    masterKeys,
    database,
    unsealer,
    queue,
    backlog,
    guard,
    egress,
    dispatchers,
    keeping,
  }
  return {
    ...own,
    clock: new LoopClock(),
    line: new ExchangeLine(),
    async close() {
      await backlog.close()
      await queue.close()
      await dispatchers.close()
      resolver.close()
      await Promise.all([database.close(), traces?.close()])
    },
  }
}
