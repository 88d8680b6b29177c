import { z } from 'zod'
import type { MasterKeys } from '../crypto/sealed-secret.ts'
import type { Attempt, SignedRequest } from '../delivery/attempt.ts'
import type { ApiErrorCode } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { Graph } from '../graph/client.ts'
import type { Uploads } from '../ops/uploads.ts'
import type { Database } from '../storage/database.ts'
import type { RingAnew } from '../storage/redelivery.ts'
import type { Caller } from './caller.ts'
import type { FlowKeyMaker } from './flow-key-maker.ts'
import type { FlowKeyReader } from './flow-key-reader.ts'
import type { FlowSyncTurns } from './flow-sync-turns.ts'

/** What the API needs of the rest of Relevo. */
export interface ApiDeps {
  readonly database: Database
  /** The operator's bearer token. */
  readonly adminToken: string
  readonly masterKeys: MasterKeys
  readonly flowKeyReader: FlowKeyReader
  readonly flowKeyMaker: FlowKeyMaker
  readonly graph: Graph
  readonly flowSyncTurns: FlowSyncTurns
  /** Bodies on their way in. */
  readonly uploads: Uploads
  /** Makes one request to a webhook on the connections that its exchanges use, guard included. Never rejects. */
  readonly attempt: (request: SignedRequest) => Promise<Attempt>
  /** For a webhook that did not choose its own. */
  readonly deadlineMs: number
  /** `User-Agent` of requests to webhooks. */
  readonly userAgent: string
  /** Of one caller, in this process. */
  readonly requestsPerSecond: number
  /** Why a webhook may not have this URL, without the URL; null when it may. */
  readonly refusalOfUrl: (url: string) => string | null
  /** No trailing slash. */
  readonly publicUrl: () => string
  /** Awaited after a committed change that relays must know of, before the call is answered (contract.md §8). */
  readonly configChanged: (workspaceId: WorkspaceId) => Promise<void>
  /** Has deliveries attempted that are due now, in the transaction that made them so. */
  readonly ringAnew: RingAnew
  /** Called once such a transaction is committed. */
  readonly deliveriesAreDue: () => void
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
export const noContent = () => ({ status: 204, body: undefined }) as const
/** The schema of an answer without a body: `response: { 204: noBody }`. */
export const noBody = z.undefined()

interface AnswerExtras {
  readonly headers?: Readonly<Record<string, string>>
  /** Members of the body that are JSON already, after all others. */
  readonly written?: Readonly<Record<string, string>>
}

type AnswerOf<R extends Responses> = {
  [Status in keyof R & number]: { readonly status: Status; readonly body: z.input<R[Status]> } & AnswerExtras
}[keyof R & number]

type Schema = z.ZodType
const noMembers = z.strictObject({})
type NoMembers = typeof noMembers

/** Required where the schema has a member that must be given. */
type Given<Name extends string, Input> =
  Record<string, never> extends Input ? { readonly [N in Name]?: Input } : { readonly [N in Name]: Input }

/**
 * A call that is right and its answer. It stands in the OpenAPI document and tests call it, so it names other things by the ids of
 * `example.ts` and nothing that is not made by the example of another operation.
 */
type ExampleOf<P extends Schema, Q extends Schema, B extends Schema, R extends Responses> = Given<
  'params',
  z.input<P>
> &
  Given<'query', z.input<Q>> &
  Given<'body', z.input<B>> & { readonly answer: AnswerOf<R> }

interface Spec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses> {
  /** One line for people, such as `Make a webhook`. */
  readonly summary: string
  /** What the summary and the schemas do not say; Markdown. */
  readonly description?: string
  readonly example: ExampleOf<P, Q, B, R>
  /** Error codes of this operation's own: besides those that every operation of its kind can give. */
  readonly errors?: readonly ApiErrorCode[]
  /** Members of the path. What cannot be an id names nothing: 404. */
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  readonly response: R
  readonly bodyLimitBytes?: number
  /** What a schema cannot tell of a body that fits it; throws ApiError `invalid_input`. Its result is the call's `checked`. */
  check?(body: z.output<B>, deps: ApiDeps): C | Promise<C>
}

interface OperatorSpec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>
  extends Spec<P, Q, B, C, R> {
  handle(call: Call<z.output<P>, z.output<Q>, z.output<B>, C>): Promise<AnswerOf<R>>
}

interface WorkspaceSpec<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>
  extends Spec<P, Q, B, C, R> {
  /** The operator may name `operator` as the workspace: what lies outside of all of them. */
  readonly reachesOutside?: boolean
  handle(call: WorkspaceCall<z.output<P>, z.output<Q>, z.output<B>, C>): Promise<AnswerOf<R>>
}

export interface Example {
  readonly params?: unknown
  readonly query?: unknown
  readonly body?: unknown
  readonly answer: Answer
}

interface OperationBase {
  readonly summary: string
  readonly description: string | null
  readonly example: Example
  readonly errors: readonly ApiErrorCode[]
  readonly params: Schema
  readonly query: Schema
  /** Null where the route takes none. */
  readonly body: Schema | null
  readonly response: Responses
  readonly bodyLimitBytes: number
  check(body: unknown, deps: ApiDeps): unknown
}

export interface Answer extends AnswerExtras {
  readonly status: number
  readonly body: unknown
}

export interface OperatorOperation extends OperationBase {
  readonly tenancy: 'operator'
  handle(call: Call<unknown, unknown, unknown, unknown>): Promise<Answer>
}

export interface WorkspaceOperation extends OperationBase {
  readonly tenancy: 'workspace'
  readonly reachesOutside: boolean
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
  const reachesOutside = spec.reachesOutside ?? false
  return { tenancy: 'workspace', ...withDefaults(spec), reachesOutside, handle: spec.handle }
}

function withDefaults<P extends Schema, Q extends Schema, B extends Schema, C, R extends Responses>(
  spec: Spec<P, Q, B, C, R>,
): OperationBase {
  return {
    summary: spec.summary,
    description: spec.description ?? null,
    example: spec.example,
    errors: spec.errors ?? [],
    params: spec.params ?? noMembers,
    query: spec.query ?? noMembers,
    body: spec.body ?? null,
    response: spec.response,
    bodyLimitBytes: spec.bodyLimitBytes ?? defaultBodyLimitBytes,
    check: spec.check ?? (() => undefined),
  }
}
