import type { ErrorNotification } from '../domain/exchange.ts'
import { tellFlow } from '../domain/flow.ts'
import { statusAt } from '../domain/flow-response.ts'
import type { Announcer } from './announcer.ts'
import type { ExchangeLedger } from './ledger.ts'
import type { Sessions } from './sessions.ts'

/** An error that a phone reported. */
export interface Report {
  readonly ledger: ExchangeLedger
  readonly request: ErrorNotification
  /** Meta's decrypted body. */
  readonly plaintext: Buffer
  readonly metaFlowId: string | null
}

export interface ErrorNotices {
  /** Finds out what the report's record is to hold, and who is told of it. The phone ignores the answer: it may wait for the records. */
  learn(report: Report): Promise<void>
}

export function createErrorNotices(parts: { sessions: Sessions; announcer: Announcer }): ErrorNotices {
  const { sessions, announcer } = parts
  return {
    async learn({ ledger, request, plaintext, metaFlowId }) {
      const { account, now, watch } = ledger
      if (!announcer.hasErrorSubscribers(account)) return
      watch.skip()
      const session = await sessions.load(account, request)
      watch.lap('enrich')
      const flow = tellFlow(account.flows, metaFlowId, session.flowResponse?.flowId ?? null, request.screen)
      const state = session.flowResponse && { ...session.flowResponse, status: statusAt(session.flowResponse, now) }
      const known = { flowToken: request.flowToken, flow, records: { ...session, flowResponse: state } }
      const deliveries = announcer.error(account, request, known, now, plaintext)
      ledger.learn({ known, deliveries })
    },
  }
}
