import type { ExchangeRecords } from '../domain/envelope.ts'
import type { FlowRequest } from '../domain/exchange.ts'
import { noMemory, type ReplyMemory } from '../domain/fallback.ts'
import { type FlowResponse, isSharedToken } from '../domain/flow-response.ts'
import { readAnswer } from '../domain/webhook.ts'
import type { Log } from '../ops/logger.ts'
import type { Database } from '../storage/database.ts'
import { loadSession, type StoredSession } from '../storage/sessions.ts'
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
  async function read(account: Account, request: SessionRequest, flowToken: string): Promise<Session> {
    const { workspaceId } = account
    try {
      // The last exchange of this token may still be on its way to the database.
      await recorder.settled(workspaceId, flowToken)
      const { action, screen } = request
      const withAnswers = account.fallsBackToAnswers
      return sessionOf(await loadSession(database.reads, workspaceId, { flowToken, action, screen, withAnswers }))
    } catch (error) {
      log.warn({ error, workspaceId }, 'records not read')
      return late
    }
  }

  let abandoned = 0
  return {
    async load(account, request) {
      const { flowToken } = request
      if (flowToken === null || isSharedToken(flowToken)) return nothing
      if (abandoned >= mostAbandoned) return late
      const { promise: budget, resolve: end } = Promise.withResolvers<Session>()
      const timer = setTimeout(end, budgetMs, late)
      const reading = read(account, request, flowToken)
      const session = await Promise.race([reading, budget])
      clearTimeout(timer)
      if (session === late) {
        abandoned++
        void reading.finally(() => abandoned--)
      }
      return session
    },
  }
}

function sessionOf(stored: StoredSession): Session {
  const { flowResponse, client, conversation, screenAnswer, lastGood } = stored
  // Parsed here and not at the fallback: that must be on the wire at once.
  const shown = screenAnswer && readAnswer(screenAnswer.toString())
  const memory = { screenData: shown && (shown.data ?? {}), lastGood: lastGood?.toString() ?? null }
  return { found: 'loaded', flowResponse, client, conversation, memory }
}
