import { z } from 'zod'
import { openSecret } from '../crypto/sealed-secret.ts'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { GraphProblem, GraphResult } from '../graph/problem.ts'
import { findAccessToken } from '../storage/wabas.ts'
import type { ApiDeps } from './operation.ts'

/** The error codes of every operation that calls Graph. */
export const graphErrors = ['access_token_missing', 'graph_error', 'graph_unreachable', 'graph_timeout'] as const

export const graphErrorsDescription =
  "Where Meta refuses, the problem's `metaCode` is Meta's own code and `retryable` tells whether the same call may succeed later."

/** The access token of a WABA that is there. Throws ApiError `access_token_missing`. */
export async function accessTokenOf(deps: ApiDeps, workspaceId: WorkspaceId, wabaId: string): Promise<string> {
  const sealed = await findAccessToken(deps.database, workspaceId, wabaId)
  if (!sealed) throw new ApiError('access_token_missing', 'give the WABA an accessToken first')
  const place = { purpose: 'access_token', workspaceId, rowId: wabaId } as const
  const accessToken = openSecret(sealed, place, deps.masterKeys)
  if (accessToken === null) throw new Error('no master key opens the access token')
  return accessToken.toString()
}

/** What a problem with Graph is told as, beside what else an answer says. */
export const graphProblemBody = z.object({
  code: z.enum(['graph_error', 'graph_unreachable', 'graph_timeout']),
  detail: z.string(),
  metaCode: z.number().nullable(),
  metaSubcode: z.number().nullable(),
  traceId: z.string().nullable(),
  retryable: z.boolean(),
})

export function graphProblemOf(problem: GraphProblem): z.input<typeof graphProblemBody> {
  const { title, metaCode, metaSubcode, traceId, retryable } = problem
  return { code: codeOf(problem), detail: title, metaCode, metaSubcode, traceId, retryable }
}

function codeOf({ kind }: GraphProblem) {
  if (kind === 'graph_error') return kind
  return kind === 'timeout' ? 'graph_timeout' : 'graph_unreachable'
}

/** The problem as an ApiError; `more`: further members. What Meta refuses for good is the caller's to mend: 422, else 502. */
export function graphFailure(problem: GraphProblem, more: Readonly<Record<string, unknown>> = {}): ApiError {
  const { code, detail, ...members } = graphProblemOf(problem)
  const status = code === 'graph_error' && problem.retryable ? { status: 502 } : {}
  return new ApiError(code, detail, [], { ...status, members: { ...members, ...more } })
}

/** The value, or the problem thrown as an ApiError. */
export function succeeded<Value>(result: GraphResult<Value>): Value {
  if (!result.ok) throw graphFailure(result.problem)
  return result.value
}
