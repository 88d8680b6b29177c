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
  /** For a webhook that is gone or has moved: requests under way finish, its connections are closed. */
  drop(webhookId: string): void
  /** Ends the requests that are under way: they fail with PoolClosed. */
  interrupt(): void
  /** Takes no more requests; resolves when those under way have ended, which their deadlines see to. */
  close(): Promise<void>
}

/** `now` is for tests. */
export function createDispatchers(options: ConnectorOptions & { readonly now?: Clock }): Dispatchers {
  const now = options.now ?? (() => performance.now())
  const connector = createConnector(options)
  const byWebhook = new Map<string, Map<string, ConnectionPool>>()
  /** Every pool that has connections or requests, dropped ones too. */
  const alive = new Set<ConnectionPool>()
  const closing = Promise.withResolvers<void>()
  let isClosed = false

  const forget = (webhookId: string, origin: string, pool: ConnectionPool): void => {
    alive.delete(pool)
    const pools = byWebhook.get(webhookId)
    if (pools?.get(origin) === pool) pools.delete(origin)
    if (pools?.size === 0) byWebhook.delete(webhookId)
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

  return {
    of(webhookId, url) {
      if (options.guard.refusalOfCall(url) !== null) return null
      return byWebhook.get(webhookId)?.get(url.origin) ?? create(webhookId, url.origin)
    },
    drop(webhookId) {
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
