import type { ExchangeRecords } from '../domain/envelope.ts'
import type { FlowRequest } from '../domain/exchange.ts'
import { noMemory, type ReplyMemory, screenDataOf } from '../domain/fallback.ts'
import { type FlowResponse, isSharedToken } from '../domain/flow-response.ts'
import type { Log } from '../ops/logger.ts'
import { storageOn } from '../storage/backends.ts'
import type { Database } from '../storage/database.ts'
import type { SessionQuery, StoredSession } from '../storage/sessions.ts'
import type { Account } from './directory.ts'
import type { Recorder } from './recorder.ts'

/** What an exchange found of its flow token. */
export interface Session {
  /** `nothing`: there is no token of one person to look for; `late`: the budget ran out or the database is away. */
  readonly found: 'loaded' | 'nothing' | 'late'
  readonly flowResponse: FlowResponse | null
  readonly client: ExchangeRecords['client']
  readonly conversation: ExchangeRecords['conversation']
  readonly memory: ReplyMemory
}

export interface Sessions {
  /** Never takes longer than the budget, never throws. Only reads: the recorder's transaction writes. */
  load(account: Account, request: SessionRequest): Promise<Session>
}

type SessionRequest = Pick<FlowRequest, 'flowToken' | 'action' | 'screen'>

const empty = { flowResponse: null, client: null, conversation: null, memory: noMemory }
const nothing: Session = { found: 'nothing', ...empty }
const late: Session = { found: 'late', ...empty }

/** Reads past their budget that may still hold a connection; with so many, the next would only queue behind them. */
const mostAbandoned = 4

export function createSessions(database: Database, recorder: Recorder, budgetMs: number, log: Log): Sessions {
  const reads = new SessionReads(database, budgetMs, log)

  /** The last exchange of this token is still on its way to the database. */
  async function loadOnceWritten(written: Promise<void>, query: SessionQuery, withAnswers: boolean): Promise<Session> {
    const { promise: budget, resolve: end } = Promise.withResolvers<Session>()
    const timer = setTimeout(end, budgetMs, late)
    // Of the budget of others that are read with it nothing is gone.
    const session =
      (await Promise.race([written, budget])) ?? (await Promise.race([reads.load(query, withAnswers), budget]))
    clearTimeout(timer)
    return session
  }

  return {
    load({ workspaceId, fallsBackToAnswers }, { flowToken, action, screen }) {
      if (flowToken === null || isSharedToken(flowToken)) return Promise.resolve(nothing)
      if (budgetMs === 0 || reads.abandoned >= mostAbandoned) return Promise.resolve(late)
      const query = { workspaceId, flowToken, action, screen }
      const written = recorder.unsettled(workspaceId, flowToken)
      if (written !== undefined) return loadOnceWritten(written, query, fallsBackToAnswers)
      return reads.load(query, fallsBackToAnswers)
    },
  }
}

interface Batch {
  readonly withAnswers: boolean
  readonly queries: SessionQuery[]
  readonly resolves: ((session: Session) => void)[]
}

/** What is asked for in one turn of the event loop is read in one statement, under one timer. */
class SessionReads {
  readonly #database: Database
  readonly #budgetMs: number
  readonly #log: Log
  /** Apart by whether earlier answers are read too. */
  readonly #gathering = new Map<boolean, Batch | undefined>()
  /** Statements that are past their budget and not done. */
  abandoned = 0

  constructor(database: Database, budgetMs: number, log: Log) {
    this.#database = database
    this.#budgetMs = budgetMs
    this.#log = log
  }

  load(query: SessionQuery, withAnswers: boolean): Promise<Session> {
    let batch = this.#gathering.get(withAnswers)
    if (batch === undefined) {
      batch = { withAnswers, queries: [], resolves: [] }
      this.#gathering.set(withAnswers, batch)
      // After all exchanges that begin in this turn, and before the driver writes.
      process.nextTick(() => this.#send(withAnswers))
    }
    batch.queries.push(query)
    const { promise, resolve } = Promise.withResolvers<Session>()
    batch.resolves.push(resolve)
    return promise
  }

  #send(withAnswers: boolean): void {
    const batch = this.#gathering.get(withAnswers)
    // Not deleted: docs/adr/0009-what-dies-young.md.
    this.#gathering.set(withAnswers, undefined)
    if (batch === undefined) return
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.abandoned++
      for (const resolve of batch.resolves) resolve(late)
    }, this.#budgetMs)
    void this.#read(batch).finally(() => {
      clearTimeout(timer)
      if (isLate) this.abandoned--
    })
  }

  async #read({ withAnswers, queries, resolves }: Batch): Promise<void> {
    try {
      const { reads, backend } = this.#database
      const stored = await storageOn(backend).loadSessions(reads, queries, withAnswers)
      for (const [at, session] of stored.entries()) resolves[at]?.(sessionOf(session))
    } catch (error) {
      this.#log.warn({ error, exchanges: queries.length }, 'records not read')
      for (const resolve of resolves) resolve(late)
    }
  }
}

function sessionOf(stored: StoredSession): Session {
  const { flowResponse, client, conversation, screenAnswer, lastGood } = stored
  // Taken apart here and not at the fallback: that must be on the wire at once.
  const memory = {
    screenData: screenAnswer && screenDataOf(screenAnswer.toString()),
    lastGood: lastGood?.toString() ?? null,
  }
  return { found: 'loaded', flowResponse, client, conversation, memory }
}
