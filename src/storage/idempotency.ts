import { and, eq, gte, isNull, sql } from 'drizzle-orm'
import type { WorkspaceId } from '../domain/ids.ts'
import { type Queryable, storing, type Transaction, transaction } from './database.ts'
import { expungeMs } from './expunge.ts'
import { clients, expunges, flowResponses, idempotentCalls } from './schema.ts'

/** Which call it is: the caller, the route and the Idempotency-Key. */
export interface CallPlace {
  readonly workspaceId: WorkspaceId
  /** 32 bytes. */
  readonly callDigest: Buffer
}

/** Proof of having the call: whoever takes it over later has another one. */
export interface Claim {
  readonly startedAt: Date
}

export type CallState =
  | { readonly kind: 'claimed'; readonly claim: Claim }
  | { readonly kind: 'running' }
  | { readonly kind: 'other_body' }
  | { readonly kind: 'answered'; readonly answerSealed: Buffer }

// The database's clock alone: processes need not agree on the time.
const expiry = sql`now() + interval '24 hours'`
const deadAfter = sql`interval '60 seconds'`

/**
 * Takes the call where nobody has it: it is new, its answer is more than 24 h old, or its first caller has shown no life for 60 s
 * (contract.md §6). Else says how it stands.
 */
export function claimCall(queryable: Queryable, place: CallPlace, bodyDigest: Buffer): Promise<CallState> {
  return transaction(queryable, 'claim idempotent call', async (tx) => {
    const unanswered = { bodyDigest, status: null, answerSealed: null, clientId: null, flowTokenDigest: null }
    const { expiresAt, status, startedAt } = idempotentCalls
    const [claim] = await tx.orm
      .insert(idempotentCalls)
      .values({ ...place, ...unanswered, startedAt: sql`now()`, expiresAt: expiry })
      .onConflictDoUpdate({
        target: [idempotentCalls.workspaceId, idempotentCalls.callDigest],
        // By what would be inserted, and without `now()`: on Citus what stands here must be immutable.
        set: { ...unanswered, startedAt: sql`excluded.started_at`, expiresAt: sql`excluded.expires_at` },
        setWhere: sql`${expiresAt} <= excluded.started_at
          or (${status} is null and excluded.started_at - ${startedAt} >= ${deadAfter})`,
      })
      .returning({ startedAt })
    if (claim !== undefined) return { kind: 'claimed', claim }
    const [row] = await tx.orm
      .select({ bodyDigest: idempotentCalls.bodyDigest, answerSealed: idempotentCalls.answerSealed })
      .from(idempotentCalls)
      .where(at(place))
    // Freed in between: the next look claims it.
    if (row === undefined) return { kind: 'running' }
    if (!row.bodyDigest.equals(bodyDigest)) return { kind: 'other_body' }
    return row.answerSealed === null ? { kind: 'running' } : { kind: 'answered', answerSealed: row.answerSealed }
  })
}

/** Says that the call still runs. The new claim, or null when another has taken it over. */
export function prolongClaim(queryable: Queryable, place: CallPlace, claim: Claim): Promise<Claim | null> {
  return storing('prolong idempotent call', async () => {
    const [row] = await queryable.orm
      .update(idempotentCalls)
      .set({ startedAt: sql`now()` })
      .where(held(place, claim))
      .returning({ startedAt: idempotentCalls.startedAt })
    return row ?? null
  })
}

export interface KeptAnswer {
  readonly status: number
  readonly answerSealed: Buffer
  /** Whom it tells of: a client, and somebody's flow token (SHA-256). */
  readonly clientId: string | null
  readonly flowTokenDigest: Buffer | null
}

/**
 * Keeps the answer for repetitions of the call, which began at `begunAt`. One that tells of somebody who was expunged since is not kept: the
 * key is given back.
 */
export function keepAnswer(
  queryable: Queryable,
  place: CallPlace,
  claim: Claim,
  answer: KeptAnswer,
  begunAt: Date,
): Promise<void> {
  return transaction(queryable, 'keep idempotent answer', async (tx) => {
    const isGone = await isExpunged(tx, place.workspaceId, answer, begunAt)
    if (isGone) await tx.orm.delete(idempotentCalls).where(held(place, claim))
    else await tx.orm.update(idempotentCalls).set(answer).where(held(place, claim))
  })
}

/** Waits for an expunge of the same person that is under way; one that begins later waits for us, and finds the answer. */
async function isExpunged(
  { orm }: Transaction,
  workspaceId: WorkspaceId,
  { clientId, flowTokenDigest }: KeptAnswer,
  begunAt: Date,
): Promise<boolean> {
  if (clientId !== null) {
    const client = and(eq(clients.workspaceId, workspaceId), eq(clients.id, clientId))
    const held = await orm.select({ id: clients.id }).from(clients).where(client).for('key share')
    if (held.length === 0) return true
  }
  if (flowTokenDigest === null) return false
  const { id, flowTokenDigest: digest } = flowResponses
  const ofToken = and(eq(flowResponses.workspaceId, workspaceId), eq(digest, flowTokenDigest))
  await orm.select({ id }).from(flowResponses).where(ofToken).for('key share')
  // An expunge is noted with the time at which its transaction began.
  const expunged = and(
    eq(expunges.workspaceId, workspaceId),
    eq(expunges.kind, 'flow_token'),
    eq(expunges.digest, flowTokenDigest),
    gte(expunges.expungedAt, new Date(begunAt.getTime() - expungeMs)),
  )
  const noted = await orm.select({ expungedAt: expunges.expungedAt }).from(expunges).where(expunged)
  return noted.length > 0
}

/** Gives the key back, as if the call had never been made. */
export function freeCall(queryable: Queryable, place: CallPlace, claim: Claim): Promise<void> {
  return storing('free idempotent call', async () => {
    await queryable.orm.delete(idempotentCalls).where(held(place, claim))
  })
}

const mostSwept = 1000

/** Removes calls whose 24 h are over, at most 1000. Returns how many. */
export function sweepCalls(queryable: Queryable): Promise<number> {
  return storing('sweep idempotent calls', async () => {
    const { workspaceId, callDigest, expiresAt } = idempotentCalls
    const old = sql`select ${workspaceId}, ${callDigest} from ${idempotentCalls} where ${expiresAt} <= now() limit ${mostSwept}`
    const swept = await queryable.orm
      .delete(idempotentCalls)
      .where(sql`(${workspaceId}, ${callDigest}) in (${old})`)
      .returning({ workspaceId })
    return swept.length
  })
}

function at({ workspaceId, callDigest }: CallPlace) {
  return and(eq(idempotentCalls.workspaceId, workspaceId), eq(idempotentCalls.callDigest, callDigest))
}

function held(place: CallPlace, { startedAt }: Claim) {
  return and(at(place), eq(idempotentCalls.startedAt, startedAt), isNull(idempotentCalls.status))
}
