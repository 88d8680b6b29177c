import type { FastifyInstance } from 'fastify'
import type { DestinationStream } from 'pino'
import { registerApi } from './api/plugin.ts'
import type { Config } from './config.ts'
import { type MasterKeys, readMasterKeys } from './crypto/sealed-secret.ts'
import { sendAttempt } from './delivery/attempt.ts'
import { LateListeners } from './delivery/late-listeners.ts'
import type { WorkspaceId } from './domain/ids.ts'
import { createAddressGuard } from './egress/address-guard.ts'
import { createDispatchers } from './egress/dispatcher.ts'
import { createResolver } from './egress/resolver.ts'
import { ringAnew } from './events/announcement.ts'
import { Backlog } from './events/backlog.ts'
import { DeliveryWorker } from './events/delivery-worker.ts'
import { Queue } from './events/queue.ts'
import { WebhookBook } from './events/webhook-book.ts'
import { Unsealer } from './events/webhook-signing.ts'
import { createGraph } from './graph/client.ts'
import { createJobs, type JobParts, preparePartitions } from './maintenance/jobs.ts'
import { Maintenance } from './maintenance/maintenance.ts'
import { registerOperationsRoutes } from './operations-routes.ts'
import { createLog } from './ops/logger.ts'
import { LoopClock } from './ops/loop-clock.ts'
import { createMetrics } from './ops/metrics.ts'
import { Announcer } from './relay/announcer.ts'
import { createBreakers } from './relay/breakers.ts'
import { Directory, opensFlowKeys } from './relay/directory.ts'
import { DirectorySync } from './relay/directory-sync.ts'
import { createErrorNotices } from './relay/error-notices.ts'
import { Exchange } from './relay/exchange.ts'
import { ExchangeLine } from './relay/exchange-line.ts'
import { registerExchangeRoute } from './relay/exchange-route.ts'
import { createForwarding } from './relay/forward.ts'
import { InterruptedSweep } from './relay/interrupted-sweep.ts'
import { MetaEvents } from './relay/meta-events.ts'
import { MetaWebhook } from './relay/meta-webhook.ts'
import { registerMetaWebhookRoutes } from './relay/meta-webhook-route.ts'
import { Uploads } from './relay/raw-body.ts'
import { Recorder } from './relay/recorder.ts'
import { RowWriter } from './relay/row-writer.ts'
import { createSessions } from './relay/sessions.ts'
import { Teller } from './relay/teller.ts'
import { createServer, refuseConnections, type ServerBounds } from './server.ts'
import { openDatabase, StorageError } from './storage/database.ts'
import { countPendingMigrations } from './storage/migrate.ts'
import { Spool } from './storage/spool.ts'

/** A start that cannot be; the message is one line for the operator. */
export class StartRefused extends Error {}

/** A Config with the three that embedded mode makes for itself. */
export interface AppConfig extends Config {
  readonly DATABASE_URL: string
  readonly MASTER_KEY: string
  readonly ADMIN_TOKEN: string
}

export interface AppOptions {
  readonly logDestination?: DestinationStream
  /** Called when a database that came up after the start turns out not to fit. */
  readonly refused?: (reason: StartRefused) => void
  /** Certificates that webhooks may present besides the public ones; for tests. */
  readonly webhookCa?: string
  /** Less time and room for senders; for tests. */
  readonly bounds?: Partial<ServerBounds>
}

export interface App {
  /** Starts everything and listens. Returns the bound URL. Throws StartRefused. */
  listen(): Promise<string>
  /** Stops accepting, finishes what is in flight, writes what is left. Returns how many rows were not written. */
  close(): Promise<number>
}

/** How long an answer in flight may take past its deadline when the process ends, ms: contract.md §8. */
const drainMs = 5000

/** Makes every part once, by hand. Nothing is started before `listen`. */
export function createApp(config: AppConfig, options: AppOptions = {}): App {
  const log = createLog(config.LOG_LEVEL, options.logDestination)
  const metrics = createMetrics()
  const masterKeys = readMasterKeys(config.MASTER_KEY, config.MASTER_KEYS_PREVIOUS)
  const database = openDatabase({
    url: config.DATABASE_URL,
    directUrl: config.DATABASE_DIRECT_URL,
    prepare: config.DATABASE_PREPARE,
  })
  const guard = createAddressGuard({
    allowHttp: config.WEBHOOK_ALLOW_HTTP,
    allowedNetworks: config.WEBHOOK_ALLOWED_NETWORKS,
  })
  const resolver = createResolver()
  const egress = { guard, resolver, ...(options.webhookCa === undefined ? {} : { tls: { ca: options.webhookCa } }) }
  const dispatchers = createDispatchers(egress)
  const graph = createGraph({
    baseUrl: config.GRAPH_API_URL,
    version: config.GRAPH_API_VERSION,
    resolver,
    guarded: dispatchers,
  })
  const breakers = createBreakers({ database, log, metrics })
  const { gatekeeper } = breakers
  const unsealer = new Unsealer(masterKeys, (place) =>
    log.error(place, 'a stored value does not open under MASTER_KEY: it is left out'),
  )
  const lateListeners = new LateListeners()
  const directory = new Directory(unsealer, {
    closeBreaker: (webhookId) => gatekeeper.close(webhookId),
    forget(webhookId) {
      dispatchers.drop(webhookId)
      gatekeeper.close(webhookId)
    },
  })
  const spool = new Spool({ dataDir: config.DATA_DIR, labels: spoolLabels(masterKeys) })
  const queue = new Queue(database)
  const backlog = new Backlog(database, log)
  const webhookBook = new WebhookBook(database, unsealer)
  const asynchronous = createDispatchers(egress)
  const clock = new LoopClock()
  const line = new ExchangeLine()
  const worker = new DeliveryWorker({
    database,
    queue,
    webhooks: webhookBook,
    isLong: (webhookId) => backlog.isLong(webhookId),
    attempt: (request) => sendAttempt(asynchronous, request),
    interrupt: () => asynchronous.interrupt(),
    room: () => line.roomForDeliveries(),
    userAgent: config.WEBHOOK_USER_AGENT,
    log,
    metrics,
  })
  const wake = () => worker.wake()
  const writer = new RowWriter({ database, queue, backlog, attempts: worker, log, metrics })
  const recorder = new Recorder({ writer, spool, log, metrics })
  const announcer = new Announcer(backlog, (deliveries) => recorder.told(deliveries))
  const interrupted = new InterruptedSweep(database, recorder, log)
  const keeping: JobParts = {
    database,
    log,
    metrics,
    payloadDays: config.PAYLOAD_RETENTION_DAYS,
    logDays: config.LOG_RETENTION_DAYS,
  }
  const maintenance = new Maintenance({ database, log, jobs: createJobs(keeping) })
  const sync = new DirectorySync(database, directory, log, {
    beforeFirstLoad: async () => {
      const pending = await countPendingMigrations(database.sql)
      if (pending > 0) throw new StartRefused(`the database lacks ${pending} migration(s): run npm run migrate`)
      if (!(await queue.isCurrent())) throw new StartRefused('the queue lacks migrations: run npm run migrate')
    },
    firstLoad: (configs) => {
      if (!opensFlowKeys(configs, masterKeys)) throw new StartRefused('MASTER_KEY does not open the stored flow keys')
    },
    refused: (error) => options.refused?.(error instanceof StartRefused ? error : new StartRefused('start failed')),
  })
  const sessions = createSessions(database, recorder, config.ENRICHMENT_BUDGET_MS, log)
  const forward = createForwarding({
    sessions,
    dispatchers,
    gatekeeper,
    announcer,
    lateListeners,
    platformAppSecrets: config.META_APP_SECRETS,
    deadlineMs: config.DEADLINE_MS,
    userAgent: config.WEBHOOK_USER_AGENT,
  })
  const signatureRequired = config.META_SIGNATURE === 'required'
  const platformAppSecrets = config.META_APP_SECRETS
  const exchange = new Exchange({
    directory,
    line,
    forward,
    errorNotices: createErrorNotices({ sessions, announcer }),
    recorder,
    announcer,
    metrics,
    log,
    platformAppSecrets,
    signatureRequired,
  })
  // The change is committed: if it cannot be read back now, the timer will, and the call must not look failed.
  const configChanged = (workspaceId: WorkspaceId) => {
    webhookBook.refresh()
    return sync
      .refresh(workspaceId)
      .catch((error: unknown) => log.warn({ error, workspaceId }, 'a change is not in force yet'))
  }
  const teller = new Teller(queue, backlog)
  const events = new MetaEvents({ database, teller, metrics, log, wake, configChanged })
  const verifyToken = config.META_VERIFY_TOKEN
  const admission = { directory, platformAppSecrets, signatureRequired }
  const metaWebhook = new MetaWebhook({ ...admission, verifyToken, events, database, metrics, log })

  const server = createServer(options.bounds ?? {}, {
    came: () => line.connectionCame(),
    refused: () => metrics.connectionRefused(),
  })
  const uploads = new Uploads()
  line.tell({ refusing: refuseConnections(server) })
  metrics.watchLoad(() => ({
    waiting: line.waiting,
    underWay: line.underWay,
    loopDelayMs: clock.takeWorstMs(),
  }))
  const keepsConnections = () => server.server.listening && !line.isRefusing
  let boundUrl = `http://${hostInUrl(config.HOST)}:${config.PORT}`
  server.register(async (scope) => registerExchangeRoute(scope, { exchange, clock, uploads, keepsConnections }))
  server.register(async (scope) => registerMetaWebhookRoutes(scope, metaWebhook, uploads))
  server.register(async (scope) =>
    registerOperationsRoutes(scope, { adminToken: config.ADMIN_TOKEN, metrics, ready: () => directory.loaded }),
  )
  server.register(async (scope) =>
    registerApi(scope, {
      database,
      adminToken: config.ADMIN_TOKEN,
      masterKeys,
      graph,
      attempt: (request) => sendAttempt(dispatchers, request),
      deadlineMs: config.DEADLINE_MS,
      userAgent: config.WEBHOOK_USER_AGENT,
      requestsPerSecond: config.API_RATE_LIMIT,
      refusalOfUrl: guard.refusalOfUrl,
      publicUrl: () => config.PUBLIC_URL ?? boundUrl,
      configChanged,
      ringAnew: (tx, deliveries) => ringAnew(queue, tx, deliveries),
      deliveriesAreDue: wake,
      reportError: (error, route) => {
        if (error instanceof StorageError && error.unavailable) database.renew()
        log.error({ error, route }, 'an API call failed inside Relevo')
      },
    }),
  )

  return {
    async listen() {
      if (!signatureRequired) log.warn('META_SIGNATURE=off: unsigned calls are accepted. For development only')
      await sync.start()
      await database.warm()
      if (directory.loaded) {
        await preparePartitions(keeping).catch((error: unknown) =>
          log.warn({ error }, 'partitions not made at the start'),
        )
      }
      await interrupted.start()
      worker.start()
      maintenance.start()
      clock.start()
      await server.listen({ host: config.HOST, port: config.PORT })
      breakers.start()
      boundUrl = `http://${hostInUrl(config.HOST)}:${portOf(server)}`
      return boundUrl
    },
    async close() {
      clock.stop()
      const graceMs = Math.max(config.DEADLINE_MS, directory.longestTimeoutMs) + drainMs
      const cut = setTimeout(() => server.server.closeAllConnections(), graceMs)
      await Promise.all([server.close(), worker.close(drainMs)])
      clearTimeout(cut)
      announcer.close()
      lateListeners.close()
      await sync.close()
      await interrupted.close()
      await maintenance.close()
      const lostRows = await recorder.close(drainMs)
      if (lostRows > 0) log.error({ rows: lostRows }, 'rows were not written before the end')
      await breakers.close()
      await backlog.close()
      await queue.close()
      await dispatchers.close()
      await asynchronous.close()
      await graph.close()
      resolver.close()
      await database.close()
      return lostRows
    },
  }
}

/** Who has the master key has the database: two Relevos that share a folder have different ones. */
function spoolLabels({ current, previous }: MasterKeys): string[] {
  return [current, ...previous].map(({ version }) => version.toString(16).padStart(8, '0'))
}

function hostInUrl(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

function portOf(server: FastifyInstance): number {
  const address = server.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
