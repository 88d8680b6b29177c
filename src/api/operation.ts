import { z } from 'zod'
import type { MasterKeys } from '../crypto/sealed-secret.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Database } from '../storage/database.ts'
import type { Caller } from './caller.ts'

/** What the API needs of the rest of Relevo. */
export interface ApiDeps {
  readonly database: Database
  /** The operator's bearer token. */
  readonly adminToken: string
  readonly masterKeys: MasterKeys
  /** Why a webhook may not have this URL, without the URL; null when it may. */
  readonly refusalOfUrl: (url: string) => string | null
  /** No trailing slash. */
  readonly publicUrl: () => string
  /** Awaited after a committed change that relays must know of, before the call is answered (contract.md §8). */
  readonly configChanged: (workspaceId: WorkspaceId) => Promise<void>
  /** For calls that end in a 5xx. `route` is the method and pattern, never the URL. */
  readonly reportError: (error: unknown, route: string) => void
}

export interface Call<Params, Query, Body, Checked> {
  readonly deps: ApiDeps
  readonly caller: Caller
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly checked: Checked
}

/** A call that works in one workspace, which is there. */
export interface WorkspaceCall<Params, Query, Body, Checked> extends Call<Params, Query, Body, Checked> {
  readonly workspaceId: WorkspaceId
}

/** Answers by status. What a schema does not name is dropped from the answer: nothing leaves that is not written down. */
export type Responses = Readonly<Record<number, z.ZodType>>

export const ok = <Body>(body: Body) => ({ status: 200, body }) as const
export const created = <Body>(body: Body) => ({ status: 201, body }) as const

type AnswerOf<R extends Responses> = {
  [Status in keyof R & number]: { readonly status: Status; readonly body: z.input<R[Status]> }
}[keyof R & number]

type Schema = z.ZodType
const noMembers = z.strictObject({})
type NoMembers = typeof noMembers

interface Spec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses> {
  /** Members of the path. What cannot be an id names nothing: 404. */
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly response: R
  readonly bodyLimitBytes?: number
  /** What a schema cannot tell of a body that fits it; throws ApiError `invalid_input`. Its result is the call's `checked`. */
  check?(body: z.output<B>, deps: ApiDeps): C
}

interface OperatorSpec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>
  extends Spec<P, Q, B, C, R> {
  handle(call: Call<z.output<P>, z.output<Q>, z.output<B>, C>): Promise<AnswerOf<R>>
}

interface WorkspaceSpec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>
  extends Spec<P, Q, B, C, R> {
  handle(call: WorkspaceCall<z.output<P>, z.output<Q>, z.output<B>, C>): Promise<AnswerOf<R>>
}

interface OperationBase {
  readonly params: Schema
  readonly query: Schema
  /** Null where the route takes none. */
  readonly body: Schema | null
  readonly response: Responses
  readonly bodyLimitBytes: number
  check(body: unknown, deps: ApiDeps): unknown
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

export interface OperatorOperation extends OperationBase {
  readonly tenancy: 'operator'
  handle(call: Call<unknown, unknown, unknown, unknown>): Promise<Answer>
}

export interface WorkspaceOperation extends OperationBase {
  readonly tenancy: 'workspace'
  handle(call: WorkspaceCall<unknown, unknown, unknown, unknown>): Promise<Answer>
}

const defaultBodyLimitBytes = 1024 * 1024

/** An operation of the operator, outside of any workspace. */
export function operatorOperation<
  R extends Responses,
  P extends Schema = NoMembers,
  Q extends Schema = NoMembers,
  B extends Schema = NoMembers,
  C = undefined,
>(spec: OperatorSpec<P, Q, B, C, R>): OperatorOperation {
  return { tenancy: 'operator', ...withDefaults(spec), handle: spec.handle }
}

/** An operation in one workspace. */
export function workspaceOperation<
  R extends Responses,
  P extends Schema = NoMembers,
  Q extends Schema = NoMembers,
  B extends Schema = NoMembers,
  C = undefined,
>(spec: WorkspaceSpec<P, Q, B, C, R>): WorkspaceOperation {
  return { tenancy: 'workspace', ...withDefaults(spec), handle: spec.handle }
}

function withDefaults<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>(
  spec: Spec<P, Q, B, C, R>,
): OperationBase {
  return {
    params: spec.params ?? noMembers,
    query: spec.query ?? noMembers,
    body: spec.body ?? null,
    response: spec.response,
    bodyLimitBytes: spec.bodyLimitBytes ?? defaultBodyLimitBytes,
    check: spec.check ?? (() => undefined),
  }
}
