import type { AttemptFailure } from '../../src/domain/failure.ts'
import type { Outcome } from '../../src/domain/outcome.ts'
import type { Fault, Faults } from '../support/tcp-faults.ts'

/**
 * What a network may do to each of the three hops, and what then is to come of it. Data only: the tests in this folder run every row
 * against a whole Relevo, and `npm run docs` makes docs/faults.md of it.
 */

/** `refused`: nobody listens, and connections that were there are reset. */
export type Injection = Faults | 'refused'

/** Between Relevo and the webhook that answers. */
export interface TenantRow {
  readonly fault: Injection
  /** `live`: on the connection that the exchange before it left; else on the one that this exchange makes. */
  readonly on?: 'live'
  readonly over?: 'TLS'
  /** How the tenant frames its reply, if not with its length. `large`: 100 kB with its length. */
  readonly reply?: 'large' | 'chunked' | 'to the end'
  /** More than one: which it is hangs on who is quicker. */
  readonly outcome: Outcome | readonly Outcome[]
  /** How far it came, as the exchange's `attempt` tells; absent where that hangs on who is quicker. */
  readonly came?: 'no connection' | 'request sent' | 'head' | 'all'
}

/** Between Relevo and a webhook that is told and not asked. */
export interface DeliveryRow {
  readonly fault: Injection
  /** Of the first attempt; null: it succeeds, where `lifted` once the fault is. Else the second does, when the fault is lifted. */
  readonly failure: AttemptFailure | null
  readonly lifted?: true
  /** Whether the tenant has the request of the first attempt. */
  readonly had: boolean
}

/** Between Relevo and PostgreSQL, all its connections. */
export interface DatabaseRow {
  readonly fault: Injection
  /** `live`: connections that are made while it lasts are good. */
  readonly on?: 'live'
  /** ENRICHMENT_BUDGET_MS, if not its default of 100. */
  readonly budgetMs?: number
  /** Of client and conversation in the envelope. `either` hangs on who is quicker. */
  readonly records: 'sent' | 'null' | 'either'
  /** Where the exchange's row is when its answer is out. */
  readonly kept: 'spool' | 'database' | 'either'
  /** `lasting`: Relevo is as before although nothing was lifted. */
  readonly again: 'lifted' | 'lasting'
}

/** Between Meta and Relevo. */
export interface MetaRow {
  readonly fault: Injection
  /** From when it is there: before the call, or once the tenant has it. */
  readonly from: 'the call' | 'the tenant’s turn'
  /** `a 400, an end`: of the connection, which may overtake the answer. `an end`: without an answer. `nothing`: until it gives up. */
  readonly metaGets: 'the answer' | 'a 400, an end' | 'an end' | 'nothing'
  /** Null: the call never was whole. No tenant is asked and no row is made. */
  readonly outcome: Outcome | null
  /** What came of the same bytes, sent again once the fault was lifted. */
  readonly again: 'repeated' | 'replied'
}

const each = (fault: Fault): Faults => ({ toServer: fault, toClient: fault })
const after = (kind: Extract<Fault, { afterBytes: number }>['kind'], afterBytes: number): Fault => ({
  kind,
  afterBytes,
})
const latency = (ms: number, jitterMs = 0): Fault => ({ kind: 'latency', ms, jitterMs })
const drip = (bytes: number, everyMs: number): Fault => ({ kind: 'drip', bytes, everyMs })
const turn = 'the tenant’s turn'
const bandwidth = (bytesPerSecond: number): Fault => ({ kind: 'bandwidth', bytesPerSecond })

export const tenantRows: readonly TenantRow[] = [
  { fault: each(latency(20, 20)), outcome: 'replied', came: 'all' },
  { fault: each(latency(20, 20)), over: 'TLS', outcome: 'replied', came: 'all' },
  { fault: { toClient: latency(9000) }, outcome: 'timeout', came: 'request sent' },
  { fault: { toServer: latency(9000) }, outcome: 'timeout', came: 'request sent' },
  { fault: { toServer: drip(500, 5) }, outcome: 'replied', came: 'all' },
  { fault: { toServer: drip(10, 100) }, outcome: 'timeout', came: 'request sent' },
  { fault: { toClient: drip(100, 5) }, outcome: 'replied', came: 'all' },
  { fault: { toClient: drip(1, 100) }, outcome: 'timeout', came: 'request sent' },
  { fault: { toClient: bandwidth(1_000_000) }, reply: 'large', outcome: 'replied', came: 'all' },
  { fault: { toClient: bandwidth(10_000) }, reply: 'large', outcome: 'timeout', came: 'head' },
  { fault: { toServer: bandwidth(1000) }, outcome: 'timeout', came: 'request sent' },

  { fault: 'refused', outcome: 'connect_failed', came: 'no connection' },
  { fault: 'refused', on: 'live', outcome: 'connect_failed', came: 'no connection' },
  { fault: each(after('reset', 0)), outcome: ['connection_lost', 'connect_failed'] },
  { fault: each(after('hold', 0)), outcome: 'timeout', came: 'request sent' },
  { fault: each(after('vanish', 0)), outcome: 'timeout', came: 'request sent' },
  { fault: each(after('vanish', 0)), on: 'live', outcome: 'timeout', came: 'request sent' },
  { fault: { toClient: after('reset', 0) }, on: 'live', outcome: 'replied', came: 'all' },
  { fault: { toClient: after('truncate', 0) }, on: 'live', outcome: 'replied', came: 'all' },

  { fault: { toServer: after('reset', 200) }, outcome: 'connection_lost' },
  { fault: { toServer: after('truncate', 200) }, outcome: 'connection_lost' },
  { fault: { toServer: after('half_close', 200) }, outcome: 'connection_lost' },
  { fault: { toServer: after('vanish', 200) }, outcome: 'timeout', came: 'request sent' },

  { fault: { toClient: after('reset', 20) }, outcome: 'connection_lost', came: 'request sent' },
  { fault: { toClient: after('truncate', 20) }, outcome: 'connection_lost', came: 'request sent' },
  { fault: { toClient: after('half_close', 20) }, outcome: 'connection_lost', came: 'request sent' },
  { fault: { toClient: after('vanish', 20) }, outcome: 'timeout', came: 'request sent' },
  { fault: { toClient: after('reset', 600) }, outcome: 'connection_lost', came: 'head' },
  { fault: { toClient: after('truncate', 600) }, outcome: 'connection_lost', came: 'head' },
  { fault: { toClient: after('truncate', 600) }, reply: 'chunked', outcome: 'connection_lost', came: 'head' },
  { fault: { toClient: after('truncate', 600) }, reply: 'to the end', outcome: 'not_json', came: 'all' },
  { fault: { toClient: after('half_close', 600) }, outcome: 'connection_lost', came: 'head' },
  { fault: { toClient: after('vanish', 600) }, outcome: 'timeout', came: 'head' },
  { fault: { toClient: after('hold', 600) }, outcome: 'timeout', came: 'head' },

  { fault: 'refused', over: 'TLS', outcome: 'connect_failed', came: 'no connection' },
  { fault: { toServer: after('reset', 50) }, over: 'TLS', outcome: 'tls_failed', came: 'no connection' },
  { fault: { toClient: after('reset', 50) }, over: 'TLS', outcome: 'tls_failed', came: 'no connection' },
  { fault: { toClient: after('truncate', 50) }, over: 'TLS', outcome: 'tls_failed', came: 'no connection' },
  { fault: { toClient: after('half_close', 50) }, over: 'TLS', outcome: 'tls_failed', came: 'no connection' },
  { fault: { toClient: after('vanish', 50) }, over: 'TLS', outcome: 'timeout', came: 'no connection' },
  {
    fault: { toClient: after('reset', 30) },
    over: 'TLS',
    on: 'live',
    outcome: 'connection_lost',
    came: 'request sent',
  },
  { fault: { toClient: after('truncate', 600) }, over: 'TLS', on: 'live', outcome: 'connection_lost' },
]

export const deliveryRows: readonly DeliveryRow[] = [
  { fault: each(latency(100, 50)), failure: null, had: true },
  { fault: { toClient: drip(50, 10) }, failure: null, had: true },
  { fault: each(after('hold', 0)), failure: null, lifted: true, had: true },
  { fault: 'refused', failure: 'connect_failed', had: false },
  { fault: { toServer: after('reset', 200) }, failure: 'connection_lost', had: false },
  { fault: { toClient: after('reset', 1) }, failure: 'connection_lost', had: true },
  { fault: { toClient: after('truncate', 1) }, failure: 'connection_lost', had: true },
]

export const databaseRows: readonly DatabaseRow[] = [
  { fault: each(latency(25)), budgetMs: 5000, records: 'sent', kept: 'either', again: 'lasting' },
  { fault: each(latency(150, 20)), records: 'null', kept: 'either', again: 'lifted' },
  { fault: { toClient: drip(10, 50) }, records: 'null', kept: 'either', again: 'lifted' },
  { fault: each(bandwidth(500)), records: 'null', kept: 'spool', again: 'lifted' },

  { fault: 'refused', records: 'null', kept: 'spool', again: 'lifted' },
  { fault: each(after('reset', 0)), on: 'live', records: 'either', kept: 'either', again: 'lasting' },
  { fault: { toServer: after('reset', 50) }, records: 'null', kept: 'spool', again: 'lifted' },
  { fault: { toClient: after('reset', 20) }, records: 'null', kept: 'spool', again: 'lifted' },
  { fault: { toClient: after('truncate', 20) }, records: 'null', kept: 'spool', again: 'lifted' },

  { fault: { toClient: after('half_close', 0) }, records: 'null', kept: 'spool', again: 'lifted' },
  { fault: { toServer: after('half_close', 0) }, records: 'null', kept: 'spool', again: 'lifted' },

  { fault: each(after('hold', 0)), records: 'null', kept: 'spool', again: 'lifted' },
  { fault: each(after('vanish', 0)), records: 'null', kept: 'spool', again: 'lifted' },
  { fault: { toClient: after('vanish', 0) }, records: 'null', kept: 'either', again: 'lifted' },
  { fault: { toClient: after('vanish', 20) }, records: 'null', kept: 'spool', again: 'lifted' },
  { fault: each(after('vanish', 0)), on: 'live', records: 'either', kept: 'either', again: 'lasting' },
]

export const metaRows: readonly MetaRow[] = [
  { fault: each(latency(30, 20)), from: 'the call', metaGets: 'the answer', outcome: 'replied', again: 'repeated' },
  { fault: { toServer: drip(50, 5) }, from: 'the call', metaGets: 'the answer', outcome: 'replied', again: 'repeated' },
  { fault: { toClient: drip(20, 5) }, from: 'the call', metaGets: 'the answer', outcome: 'replied', again: 'repeated' },
  { fault: each(bandwidth(20_000)), from: 'the call', metaGets: 'the answer', outcome: 'replied', again: 'repeated' },

  { fault: 'refused', from: 'the call', metaGets: 'an end', outcome: null, again: 'replied' },
  { fault: { toServer: after('reset', 600) }, from: 'the call', metaGets: 'an end', outcome: null, again: 'replied' },
  {
    fault: { toServer: after('truncate', 600) },
    from: 'the call',
    metaGets: 'an end',
    outcome: null,
    again: 'replied',
  },
  {
    fault: { toServer: after('half_close', 600) },
    from: 'the call',
    metaGets: 'a 400, an end',
    outcome: null,
    again: 'replied',
  },
  { fault: { toServer: after('vanish', 600) }, from: 'the call', metaGets: 'nothing', outcome: null, again: 'replied' },

  { fault: each(after('reset', 0)), from: turn, metaGets: 'an end', outcome: 'replied', again: 'repeated' },
  {
    fault: { toServer: after('half_close', 0) },
    from: turn,
    metaGets: 'an end',
    outcome: 'replied',
    again: 'repeated',
  },
  {
    fault: { toClient: after('half_close', 0) },
    from: turn,
    metaGets: 'an end',
    outcome: 'replied',
    again: 'repeated',
  },
  { fault: { toClient: after('truncate', 0) }, from: turn, metaGets: 'an end', outcome: 'replied', again: 'repeated' },
  { fault: { toClient: after('vanish', 0) }, from: turn, metaGets: 'nothing', outcome: 'replied', again: 'repeated' },
  { fault: { toClient: after('hold', 0) }, from: turn, metaGets: 'nothing', outcome: 'replied', again: 'repeated' },
  {
    fault: { toClient: after('reset', 50) },
    from: 'the call',
    metaGets: 'an end',
    outcome: 'replied',
    again: 'repeated',
  },
  {
    fault: { toClient: after('truncate', 50) },
    from: 'the call',
    metaGets: 'an end',
    outcome: 'replied',
    again: 'repeated',
  },
  {
    fault: { toClient: after('vanish', 50) },
    from: 'the call',
    metaGets: 'nothing',
    outcome: 'replied',
    again: 'repeated',
  },
]
