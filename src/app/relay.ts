import type { FastifyInstance } from 'fastify'
import { LateListeners } from '../delivery/late-listeners.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { Uploads } from '../ops/uploads.ts'
import { Announcer } from '../relay/announcer.ts'
import { createBreakers } from '../relay/breakers.ts'
import { Directory } from '../relay/directory.ts'
import { DirectorySync, type StartChecks } from '../relay/directory-sync.ts'
import { createErrorNotices } from '../relay/error-notices.ts'
import { Exchange } from '../relay/exchange.ts'
import { registerExchangeRoute } from '../relay/exchange-route.ts'
import { watchFlows } from '../relay/flow-watch.ts'
import { createForwarding } from '../relay/forward.ts'
import { InterruptedSweep } from '../relay/interrupted-sweep.ts'
import { MetaEvents } from '../relay/meta-events.ts'
import { MetaWebhook } from '../relay/meta-webhook.ts'
import { registerMetaWebhookRoutes } from '../relay/meta-webhook-route.ts'
import { Recorder } from '../relay/recorder.ts'
import { RowWriter } from '../relay/row-writer.ts'
import { createSessions } from '../relay/sessions.ts'
import { Teller } from '../relay/teller.ts'
import { Spool } from '../storage/spool.ts'
import type { Core } from './core.ts'
import type { Attempts } from './worker.ts'

export interface RelayPartLinks {
  readonly attempts: Attempts
  readonly checks: StartChecks
  /** Awaited after a change of configuration was committed, before Meta is answered. */
  readonly configChanged: (workspaceId: WorkspaceId) => Promise<void>
}

/** Role `relay`: what Meta calls. */
export interface RelayPart {
  /** Whether calls can be answered: the keys are loaded. Stays true when the database goes away later. */
  readonly isReady: boolean
  /** What an answer may take, ms. */
  readonly longestAnswerMs: number
  addRoutes(server: FastifyInstance): void
  /** Loads this workspace anew. Never rejects: what cannot be read now, the timer reads. */
  refresh(workspaceId: WorkspaceId): Promise<void>
  /** Loads the configuration. Rejects with what the checks throw. */
  load(): Promise<void>
  /** Takes over what dead processes left on this disk. */
  start(): Promise<void>
  /** Says what this process is called. */
  nameBreakers(): void
  /** Writes what is left, for at most `drainMs`. Returns how many rows were not written. */
  close(drainMs: number): Promise<number>
}

export function createRelayPart(core: Core, { attempts, checks, configChanged }: RelayPartLinks): RelayPart {
  const { config, database, queue, backlog, dispatchers, line, clock, log, metrics, traces } = core
  const breakers = createBreakers({ database, log, metrics })
  const { gatekeeper } = breakers
  const directory = new Directory(core.unsealer, {
    closeBreaker: (webhookId) => gatekeeper.close(webhookId),
    forget(webhookId) {
      dispatchers.drop(webhookId)
      gatekeeper.close(webhookId)
    },
  })
  const sync = new DirectorySync(database, directory, log, checks)
  const spool = new Spool({ dataDir: config.DATA_DIR, labels: spoolLabels(core) })
  const writer = new RowWriter({ database, queue, backlog, attempts, log, metrics })
  const recorder = new Recorder({ writer, spool, log, metrics })
  const announcer = new Announcer(backlog, (deliveries) => recorder.told(deliveries))
  const interrupted = new InterruptedSweep(database, recorder, log)
  const sessions = createSessions(database, recorder, config.ENRICHMENT_BUDGET_MS, log)
  const lateListeners = new LateListeners()
  const platformAppSecrets = config.META_APP_SECRETS
  const signatureRequired = config.META_SIGNATURE === 'required'
  const forward = createForwarding({
    sessions,
    dispatchers,
    gatekeeper,
    announcer,
    lateListeners,
    traces,
    platformAppSecrets,
    deadlineMs: config.DEADLINE_MS,
    userAgent: config.WEBHOOK_USER_AGENT,
  })
  const exchange = new Exchange({
    directory,
    line,
    forward,
    errorNotices: createErrorNotices({ sessions, announcer }),
    recorder,
    announcer,
    metrics,
    traces,
    flows: watchFlows(log, metrics),
    log,
    platformAppSecrets,
    signatureRequired,
  })
  const teller = new Teller(queue, backlog)
  const events = new MetaEvents({ database, teller, metrics, log, wake: () => attempts.wake(), configChanged })
  const verifyToken = config.META_VERIFY_TOKEN
  const admission = { directory, platformAppSecrets, signatureRequired }
  const metaWebhook = new MetaWebhook({ ...admission, verifyToken, events, database, metrics, log })
  const uploads = new Uploads()
  return {
    get isReady() {
      return directory.loaded
    },
    get longestAnswerMs() {
      return Math.max(config.DEADLINE_MS, directory.longestTimeoutMs)
    },
    addRoutes(server) {
      const keepsConnections = () => server.server.listening && !line.isRefusing
      server.register(async (scope) => registerExchangeRoute(scope, { exchange, clock, uploads, keepsConnections }))
      server.register(async (scope) => registerMetaWebhookRoutes(scope, metaWebhook, uploads))
    },
    refresh: (workspaceId) =>
      sync
        .refresh(workspaceId)
        // The change is committed: the call that made it must not look failed.
        .catch((error: unknown) => log.warn({ error, workspaceId }, 'a change is not in force yet')),
    async load() {
      if (!signatureRequired) log.warn('META_SIGNATURE=off: unsigned calls are accepted. For development only')
      await sync.start()
      await database.warm()
    },
    start: () => interrupted.start(),
    nameBreakers: () => breakers.start(),
    async close(drainMs) {
      announcer.close()
      lateListeners.close()
      await sync.close()
      await interrupted.close()
      const lostRows = await recorder.close(drainMs)
      if (lostRows > 0) log.error({ rows: lostRows }, 'rows were not written before the end')
      await breakers.close()
      return lostRows
    },
  }
}

/** Who has the master key has the database: two Relevos that share a folder have different ones. */
function spoolLabels({ masterKeys: { current, previous } }: Core): string[] {
  return [current, ...previous].map(({ version }) => version.toString(16).padStart(8, '0'))
}
