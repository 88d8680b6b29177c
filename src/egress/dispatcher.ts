import type { Clock } from './connection.ts'
import { ConnectionPool } from './connection-pool.ts'
import { type ConnectorOptions, createConnector } from './connector.ts'

/** All connections to webhooks. One webhook never waits for another's: each has a pool of its own per origin. */
export interface Dispatchers {
  /**
   * The pool of that webhook and the URL's origin, to be used at once: one without connections is forgotten. Null where the
   * guard refuses the URL. What its name resolves to is judged at each new connection, and shows as AddressBlocked there.
   */
  of(webhookId: string, url: URL): ConnectionPool | null
  /** The same for a webhook's URL as it is stored, with the path to ask for; null also where it is no URL. */
  to(webhookId: string, url: string): Destination | null
  /** For a webhook that is gone or has moved: requests under way finish, its connections are closed. */
  drop(webhookId: string): void
  /** Ends the requests that are under way: they fail with PoolClosed. */
  interrupt(): void
  /** Takes no more requests; resolves when those under way have ended, which their deadlines see to. */
  close(): Promise<void>
}

export interface Destination {
  readonly pool: ConnectionPool
  readonly path: string
}

/** `now` is for tests. */
export function createDispatchers(options: ConnectorOptions & { readonly now?: Clock }): Dispatchers {
  const now = options.now ?? (() => performance.now())
  const connector = createConnector(options)
  const byWebhook = new Map<string, Map<string, ConnectionPool>>()
  /** The URL that was last asked for, by webhook: to read it costs more than to judge it. */
  const lastUrls = new Map<string, { readonly text: string; readonly url: URL; readonly path: string }>()
  /** Every pool that has connections or requests, dropped ones too. */
  const alive = new Set<ConnectionPool>()
  const closing = Promise.withResolvers<void>()
  let isClosed = false

  const forget = (webhookId: string, origin: string, pool: ConnectionPool): void => {
    alive.delete(pool)
    const pools = byWebhook.get(webhookId)
    if (pools?.get(origin) === pool) pools.delete(origin)
    if (pools?.size === 0) {
      byWebhook.delete(webhookId)
      lastUrls.delete(webhookId)
    }
    if (isClosed && alive.size === 0) closing.resolve()
  }

  const create = (webhookId: string, origin: string): ConnectionPool => {
    const pool: ConnectionPool = new ConnectionPool(origin, connector, now, () => forget(webhookId, origin, pool))
    if (isClosed) {
      pool.close()
      return pool
    }
    alive.add(pool)
    const pools = byWebhook.get(webhookId) ?? new Map<string, ConnectionPool>()
    byWebhook.set(webhookId, pools.set(origin, pool))
    return pool
  }

  const read = (webhookId: string, text: string) => {
    const last = lastUrls.get(webhookId)
    if (last?.text === text) return last
    const url = URL.parse(text)
    if (url === null) return null
    const next = { text, url, path: url.pathname + url.search }
    lastUrls.set(webhookId, next)
    return next
  }

  const allowedPool = (webhookId: string, url: URL): ConnectionPool | null => {
    if (options.guard.refusalOfCall(url) !== null) return null
    return byWebhook.get(webhookId)?.get(url.origin) ?? create(webhookId, url.origin)
  }

  return {
    of: allowedPool,
    to(webhookId, text) {
      const known = read(webhookId, text)
      const pool = known && allowedPool(webhookId, known.url)
      return known && pool && { pool, path: known.path }
    },
    drop(webhookId) {
      lastUrls.delete(webhookId)
      const pools = byWebhook.get(webhookId)
      byWebhook.delete(webhookId)
      for (const pool of pools?.values() ?? []) pool.close()
    },
    interrupt() {
      for (const pool of [...alive]) pool.interrupt()
    },
    close() {
      isClosed = true
      byWebhook.clear()
      for (const pool of [...alive]) pool.close()
      if (alive.size === 0) closing.resolve()
      return closing.promise
    },
  }
}
