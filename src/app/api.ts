import type { FastifyInstance } from 'fastify'
import { FlowKeyMaker } from '../api/flow-key-maker.ts'
import { FlowKeyReader } from '../api/flow-key-reader.ts'
import { FlowSyncTurns } from '../api/flow-sync-turns.ts'
import { type ApiDeps, registerApi } from '../api/plugin.ts'
import { sendAttempt } from '../delivery/attempt.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { ringAnew } from '../events/announcement.ts'
import { createGraph } from '../graph/client.ts'
import { Uploads } from '../ops/uploads.ts'
import { StorageError } from '../storage/database.ts'
import type { Core } from './core.ts'

export interface ApiPartLinks {
  /** Awaited after a change was committed, before the call is answered. */
  readonly configChanged: (workspaceId: WorkspaceId) => Promise<void>
  readonly deliveriesAreDue: () => void
  /** What PUBLIC_URL is where it is not set. */
  readonly boundUrl: () => string
}

/** Role `api`: what tenants manage. */
export interface ApiPart {
  addRoutes(server: FastifyInstance): void
  close(): Promise<void>
}

export function createApiPart(core: Core, { configChanged, deliveriesAreDue, boundUrl }: ApiPartLinks): ApiPart {
  const { config, database, dispatchers, queue, log } = core
  const graph = createGraph({
    baseUrl: config.GRAPH_API_URL,
    version: config.GRAPH_API_VERSION,
    resolver: core.egress.resolver,
    guarded: dispatchers,
  })
  const deps: ApiDeps = {
    database,
    adminToken: config.ADMIN_TOKEN,
    masterKeys: core.masterKeys,
    flowKeyReader: new FlowKeyReader(),
    flowKeyMaker: new FlowKeyMaker(),
    graph,
    flowSyncTurns: new FlowSyncTurns(),
    // Not those of exchanges: a tenant's uploads must not have Meta's cut.
    uploads: new Uploads(),
    attempt: (request) => sendAttempt(dispatchers, request),
    deadlineMs: config.DEADLINE_MS,
    userAgent: config.WEBHOOK_USER_AGENT,
    requestsPerSecond: config.API_RATE_LIMIT,
    refusalOfUrl: core.guard.refusalOfUrl,
    publicUrl: () => config.PUBLIC_URL ?? boundUrl(),
    configChanged,
    ringAnew: (tx, deliveries) => ringAnew(queue, tx, deliveries),
    deliveriesAreDue,
    reportError: (error, route) => {
      if (error instanceof StorageError && error.unavailable) database.renew()
      log.error({ error, route }, 'an API call failed inside Relevo')
    },
  }
  return {
    addRoutes: (server) => void server.register(async (scope) => registerApi(scope, deps)),
    close: () => graph.close(),
  }
}
