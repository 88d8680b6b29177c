import type { Attempt } from '../delivery/attempt.ts'
import type { FlowResponse } from '../domain/flow-response.ts'
import type { Outcome } from '../domain/outcome.ts'

/** How an exchange ended: its outcome and the answer's plaintext (null: none of its own). */
export interface Ending {
  readonly outcome: Outcome
  readonly text: string | null
  readonly screen?: string | null
  readonly attempt?: Attempt
  /** What `outcome` does not say. */
  readonly reason?: string
  /** The flow token's state after a relayed SUCCESS. */
  readonly completed?: FlowResponse
}

/** An ending with an answer of its own. */
export type AnswerEnding = Ending & { readonly text: string }
