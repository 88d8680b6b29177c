import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { createApiPart } from './app/api.ts'
import { type AppConfig, type CoreOptions, createCore } from './app/core.ts'
import { createRelayPart } from './app/relay.ts'
import { StartGate, startChecks } from './app/start-checks.ts'
import { StartRefused } from './app/start-refused.ts'
import { attemptsElsewhere, createWorkerPart } from './app/worker.ts'
import type { WorkspaceId } from './domain/ids.ts'
import { preparePartitions } from './maintenance/jobs.ts'
import { registerOperationsRoutes } from './operations-routes.ts'
import { type MetricsSnapshot, renderMerged } from './ops/merged-metrics.ts'
import { createServer, refuseConnections, type ServerBounds } from './server.ts'

export type { AppConfig } from './app/core.ts'

export interface AppOptions extends CoreOptions {
  /** Called when a database that came up after the start turns out not to fit. */
  readonly refused?: (reason: StartRefused) => void
  /** Less time and room for senders; for tests. */
  readonly bounds?: Partial<ServerBounds>
  /** Others answer meanwhile: it listens only once it can answer too. */
  readonly listensWhenReady?: boolean
  /** Others listen on the same port: the kernel shares connections out. */
  readonly sharesPort?: boolean
  /** The metrics of all that share the port, where `/metrics` is to show them; `own` takes those of this one. */
  readonly gatherMetrics?: (own: () => Promise<MetricsSnapshot>) => Promise<readonly MetricsSnapshot[]>
}

export interface App {
  /** Starts everything and listens. Returns the bound URL. Throws StartRefused. */
  listen(): Promise<string>
  /** Stops accepting, finishes what is in flight, writes what is left. Returns how many rows were not written. */
  close(): Promise<number>
  metricsSnapshot(): Promise<MetricsSnapshot>
}

/** How long an answer in flight may take past its deadline when the process ends, ms: contract.md §8. */
const drainMs = 5000

/** Makes the parts of this process's role once, by hand: contract.md §6. Nothing is started before `listen`. */
export function createApp(config: AppConfig, options: AppOptions = {}): App {
  const core = createCore(config, options)
  const { log, metrics, line, clock } = core
  const runs = (role: 'relay' | 'api' | 'worker') => config.ROLE === 'all' || config.ROLE === role
  let boundUrl = `http://${hostInUrl(config.HOST)}:${config.PORT}`

  const checks = startChecks(core, options.refused)
  const configChanged = async (workspaceId: WorkspaceId): Promise<void> => {
    worker?.webhooksChanged()
    await relay?.refresh(workspaceId)
  }
  const worker = runs('worker') ? createWorkerPart(core) : null
  const attempts = worker?.attempts ?? attemptsElsewhere
  const relay = runs('relay') ? createRelayPart(core, { attempts, checks, configChanged }) : null
  const gate = relay === null ? new StartGate(core, checks) : null
  const links = { configChanged, deliveriesAreDue: () => attempts.wake(), boundUrl: () => boundUrl }
  const api = runs('api') ? createApiPart(core, links) : null
  const isReady = () => relay?.isReady ?? gate?.isOpen ?? false

  const server = createServer(options.bounds ?? {}, {
    came: () => line.connectionCame(),
    refused: () => metrics.connectionRefused(),
  })
  line.tell({ refusing: refuseConnections(server) })
  metrics.watchLoad(() => ({ waiting: line.waiting, underWay: line.underWay, loopDelayMs: clock.takeWorstMs() }))
  relay?.addRoutes(server)
  api?.addRoutes(server)
  const { gatherMetrics, sharesPort: reusePort = false } = options
  const render = async () =>
    gatherMetrics === undefined ? metrics.render() : renderMerged(await gatherMetrics(metrics.snapshot))
  const { contentType } = metrics
  server.register(async (scope) =>
    registerOperationsRoutes(scope, { adminToken: config.ADMIN_TOKEN, render, contentType, isReady }),
  )

  const ending = new AbortController()
  const untilReady = async () => {
    while (!isReady() && !ending.signal.aborted) {
      await delay(100, undefined, { signal: ending.signal }).catch(() => undefined)
    }
  }

  // Under a MASTER_KEY that does not fit deliveries would go out unsigned: not before the checks have passed.
  const startWorker = () => {
    if (!ending.signal.aborted) worker?.start()
  }

  return {
    async listen() {
      if (relay === null && api !== null && config.PUBLIC_URL === undefined) {
        log.warn('PUBLIC_URL is not set: the endpoint URIs handed out name this process, which answers no exchanges')
      }
      await core.traces?.start()
      await relay?.load()
      await gate?.start()
      const needsPartitions = relay !== null || worker !== null
      if (needsPartitions && isReady()) {
        await preparePartitions(core.keeping).catch((error: unknown) =>
          log.warn({ error }, 'partitions not made at the start'),
        )
      }
      await relay?.start()
      if (isReady()) worker?.start()
      else void untilReady().then(startWorker)
      clock.start()
      if (options.listensWhenReady) await untilReady()
      if (ending.signal.aborted) throw new StartRefused('told to end before it listened')
      // What fastify's types lack it hands on to Node.
      await server.listen({ host: config.HOST, port: config.PORT, ...{ reusePort } })
      relay?.nameBreakers()
      boundUrl = `http://${hostInUrl(config.HOST)}:${portOf(server)}`
      return boundUrl
    },
    async close() {
      ending.abort()
      clock.stop()
      const graceMs = (relay?.longestAnswerMs ?? config.DEADLINE_MS) + drainMs
      const cut = setTimeout(() => server.server.closeAllConnections(), graceMs)
      const closeRelay = async () => {
        await server.close()
        clearTimeout(cut)
        return (await relay?.close(drainMs)) ?? 0
      }
      // Rows of exchanges do not wait for deliveries.
      const [lostRows] = await Promise.all([closeRelay(), worker?.close(drainMs)])
      await gate?.close()
      await api?.close()
      await core.close()
      return lostRows
    },
    metricsSnapshot: metrics.snapshot,
  }
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
