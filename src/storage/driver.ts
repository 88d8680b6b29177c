import postgres from 'postgres'
import { addArrayTypes } from './array-types.ts'
import { type Connecting, driverOptions, Primary, readHosts } from './hosts.ts'

/** `onnotify`: called with channel and payload of each notification. The driver takes it, its types do not know it. */
export type ClientOptions = postgres.Options<Record<string, never>> & {
  readonly onnotify?: (channel: string, payload: string) => void
}

/**
 * A client of postgres.js, without those of its faults that end the process when the database goes away at a bad moment. Of several hosts it
 * connects to the primary; clients of one URL may share who that is. (The driver's own way connects again and again without a pause where a server
 * says nothing or there are several hosts, begins each connection with the first, and takes a hot standby for read-write.)
 */
export function openClient(
  url: string,
  options: ClientOptions,
  primary: Connecting | null = primaryOf(url),
): postgres.Sql {
  const onclose = (connectionId: number) => {
    primary?.doubt()
    closed(connectionId)
    options.onclose?.(connectionId)
  }
  const socket = primary === null ? {} : { socket: primary.socket }
  const [first] = readHosts(url)
  const given = { ...options, ...socket, fetch_types: false, onnotice: () => undefined, onclose }
  const client = first === undefined ? postgres(url, given) : postgres(first.url, { ...driverOptions(first), ...given })
  const closed = guardClosed(client)
  addArrayTypes(client)
  return client
}

/** Null for a socket in the file system, and where no host is named: the driver has its own. */
export function primaryOf(url: string): Primary | null {
  const hosts = readHosts(url)
  return hosts.every(({ hostname, socketPath }) => hostname !== '' && socketPath === undefined)
    ? new Primary(hosts)
    : null
}

/** What postgres.js 3.4.9 shows of a connection to a statement's `onexecute`. The queue that it is in is its state. */
interface Connection {
  readonly id: number
  readonly queue: object
  execute(query: { reject(error: Error): void }): unknown
  connect(query: unknown): void
  end(): unknown
}

type OnExecute = (connection: Connection) => unknown
type Unsafe = (text: string, values?: unknown[], options?: { readonly onexecute?: OnExecute }) => never

/**
 * What a transaction still says to a connection that the server has closed, its rollback at the least, postgres.js writes to a socket that is
 * null, where nobody can catch it: the process ends (porsager/postgres issues 1154 and 1208). Here such a statement fails instead. Each
 * connection is seen when a transaction begins on it. Returns what is to be called when a connection has closed.
 */
function guardClosed(client: postgres.Sql): (connectionId: number) => void {
  const seen = new Map<number, Connection>()
  /** The driver's queues `closed`, `connecting` and `ended`, as far as they were met: the same for all connections. */
  const deadQueues = new Set<object>()
  const guard = (connection: Connection): void => {
    if (seen.has(connection.id)) return
    seen.set(connection.id, connection)
    const { execute, connect, end } = connection
    connection.execute = (query) => {
      if (!deadQueues.has(connection.queue)) return execute(query)
      query.reject(new ConnectionClosed())
      return true
    }
    connection.connect = (query) => {
      deadQueues.add(connection.queue)
      connect(query)
    }
    connection.end = () => {
      const before = connection.queue
      const ended = end()
      // In a transaction it stays where it is until that is over.
      if (connection.queue !== before) deadQueues.add(connection.queue)
      return ended
    }
  }
  seeConnections(client, guard)
  return (connectionId) => {
    const connection = seen.get(connectionId)
    if (connection !== undefined) deadQueues.add(connection.queue)
  }
}

/** `begin` runs its first statement through the client's own `unsafe`, and is told of the connection that took it. */
function seeConnections(client: postgres.Sql, see: (connection: Connection) => void): void {
  const unsafe = client.unsafe.bind(client) as Unsafe
  const seeing = (...[text, values, options]: Parameters<Unsafe>) => {
    const { onexecute } = options ?? {}
    if (onexecute === undefined) return options === undefined ? unsafe(text, values) : unsafe(text, values, options)
    const told: OnExecute = (connection) => {
      see(connection)
      return onexecute(connection)
    }
    return unsafe(text, values, { ...options, onexecute: told })
  }
  client.unsafe = seeing as typeof client.unsafe
}

class ConnectionClosed extends Error {
  readonly code = 'CONNECTION_CLOSED'
}
