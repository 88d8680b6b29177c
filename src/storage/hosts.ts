import { connect, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'

/** One of the hosts of a DATABASE_URL. */
export interface Host {
  readonly hostname: string
  readonly port: number
  /** A URL that leads to this host alone. */
  readonly url: string
  /** Of a socket in the file system: `postgres://user:password@%2Fvar%2Frun%2Fpostgresql/database`. */
  readonly socketPath?: string
}

/** How long a host may take to say what it is, ms. */
const answerMs = 2000
/** How much longer the others may take once one says that it is a primary, ms: a host that swallows packets must not hold up the rest. */
const othersMs = 300
/** From one round of questions to the next at least, and before a server is tried again that closed without a word, ms. */
const pauseMs = 200

/**
 * The hosts of `postgres://user:password@host1:port1,host2/database`, each with 5432 where it names no port. All are asked for a primary: of
 * `target_session_attrs` only `primary` and `read-write` are taken. Throws where it cannot be read, without what was given.
 */
export function readHosts(url: string): Host[] {
  const [, scheme, user = '', authority = '', rest = ''] =
    /^(postgres(?:ql)?:\/\/)([^/?]*@)?([^/?]*)(.*)$/s.exec(url) ?? []
  if (scheme === undefined) throw new Error('must begin with postgres://')
  const named = authority.split(',')
  return named.map((host) => {
    const read = URL.parse(`${scheme}${user}${host || folderIn(rest)}${rest}`)
    const wanted = read?.searchParams.get('target_session_attrs') ?? 'primary'
    if (read === null || !['primary', 'read-write'].includes(wanted))
      throw new Error('must be a URL with one host or several, of a primary')
    if (![read.username, read.password, read.hostname, read.pathname].every(isDecodable))
      throw new Error('must have a % of its user, password, host or database written as %25')
    const hostname = decodeURIComponent(read.hostname.replace(/^\[(.*)\]$/, '$1'))
    const isFolder = hostname.startsWith('/')
    if (isFolder && named.length > 1) throw new Error('must have no folder of sockets among several hosts')
    if (read.searchParams.has('host') && (host !== '' || !isFolder))
      throw new Error('must have its host before the database, or as ?host= a folder of sockets')
    if (host === '' && isFolder) for (const name of ['host', 'port']) read.searchParams.delete(name)
    // The driver knows the parameter too, and takes a hot standby of PostgreSQL 14 or later for read-write.
    read.searchParams.delete('target_session_attrs')
    const port = Number(read.port || 5432)
    const socket = isFolder ? { socketPath: `${hostname}/.s.PGSQL.${port}` } : {}
    return { hostname, port, url: read.href, ...socket }
  })
}

/** `postgres://user:password@/database?host=/var/run/postgresql&port=5432`, libpq's other way to name one: as it stands before the database. */
function folderIn(rest: string): string {
  const named = new URLSearchParams(rest.slice(rest.indexOf('?') + 1))
  const folder = named.get('host') ?? ''
  return folder.startsWith('/') ? `${encodeURIComponent(folder)}:${named.get('port') ?? ''}` : ''
}

/** What the driver does not take from a URL, or not decoded. */
export function driverOptions({ url, socketPath }: Host): { path?: string; database?: string } {
  const database = decodeURIComponent(new URL(url).pathname.slice(1))
  return { ...(socketPath === undefined ? {} : { path: socketPath }), ...(database === '' ? {} : { database }) }
}

/** The driver decodes these parts, and what it throws where it cannot is no line for the operator. */
function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}

/** What a pool connects by. */
export type Connecting = Pick<Primary, 'socket' | 'doubt'>

/**
 * Which of several hosts is the primary. Each is asked, and the answer kept until somebody doubts it. Of two that say so the one on the later
 * timeline is it: the other was failed over from, and came back without being told. One host alone is not asked.
 */
export class Primary {
  readonly #hosts: readonly Host[]
  #found: Host | null = null
  #asking: Promise<Host | null> | null = null
  #askedAt = Number.NEGATIVE_INFINITY
  #silentAt = Number.NEGATIVE_INFINITY

  constructor(hosts: readonly Host[]) {
    this.#hosts = hosts
  }

  /** For the driver's `socket`: on its way to the primary. Where there is none it fails as soon as something is written to it. */
  readonly socket = async (): Promise<Socket> => {
    const host = await this.find()
    if (host === null) return new Socket()
    const socket = socketTo(host)
    // Where a server says nothing and closes, as proxies do that have none behind them, the driver connects again without a pause or a word.
    const silent = (failed: boolean) => {
      if (!failed) this.#silentAt = performance.now()
      this.doubt()
    }
    socket.once('close', silent).once('data', () => socket.off('close', silent))
    return socket
  }

  /** For a pool that is to connect to nobody once this is false. */
  whileTrue(mayConnect: () => boolean): Connecting {
    return { doubt: () => this.doubt(), socket: async () => (mayConnect() ? this.socket() : new Socket()) }
  }

  /** Null where no host says that it is one. Never throws. */
  async find(): Promise<Host | null> {
    const [only, ...others] = this.#hosts
    if (only !== undefined && others.length === 0) {
      await delay(Math.max(0, this.#silentAt + pauseMs - performance.now()))
      return only
    }
    if (this.#found !== null) return this.#found
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null
    })
    return this.#asking
  }

  /** A connection ended, or a server took no writes: whoever connects next asks anew. */
  doubt(): void {
    this.#found = null
  }

  async #ask(): Promise<Host | null> {
    await delay(Math.max(0, this.#askedAt + pauseMs - performance.now()))
    this.#askedAt = performance.now()
    const found: { host: Host; timeline: number }[] = []
    const asked = this.#hosts.map(async (host) => {
      const timeline = await timelineOf(host)
      if (timeline !== null) found.push({ host, timeline })
      return timeline ?? Promise.reject(new Error('no primary'))
    })
    const soon = Promise.any(asked).then(() => delay(othersMs, undefined, { ref: false }))
    await Promise.race([Promise.allSettled(asked), soon.catch(() => Promise.allSettled(asked))])
    const [latest] = found.sort((one, other) => other.timeline - one.timeline)
    this.#found = latest?.host ?? null
    return this.#found
  }
}

function socketTo({ hostname, port }: Host): Socket {
  // The driver checks a certificate against `host`.
  return Object.assign(connect(port, hostname), { host: hostname, port })
}

/** The timeline that a primary writes, which each promotion raises; null for a standby, a server that takes no writes, and one that does not answer. */
async function timelineOf(host: Host): Promise<number | null> {
  let sockets = 0
  const client = postgres(host.url, {
    ...driverOptions(host),
    max: 1,
    prepare: false,
    fetch_types: false,
    connect_timeout: answerMs / 1000,
    connection: { application_name: 'relevo' },
    onnotice: () => undefined,
    // One connection: what the driver would try again is asked in the next round.
    ...{ socket: () => (sockets++ === 0 ? socketTo(host) : new Socket()) },
  })
  const ask = async () => {
    const [row] =
      await client`select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean as closed`
    if (row?.closed !== false) return null
    // Not every service that speaks PostgreSQL's protocol has one.
    const timeline = client`select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int as timeline`
    return timeline.then(([found]) => Number(found?.timeline)).catch(() => 0)
  }
  const answer = ask().catch(() => null)
  try {
    return await Promise.race([answer, delay(answerMs, null, { ref: false })])
  } finally {
    void client.end({ timeout: 0 }).catch(() => undefined)
  }
}
