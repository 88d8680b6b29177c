import { setTimeout as sleep } from 'node:timers/promises'
import { sha256 } from '../crypto/digest.ts'
import { openSecret, type SecretPlace, sealSecret } from '../crypto/sealed-secret.ts'
import { ApiError } from '../domain/errors.ts'
import { idPattern, type WorkspaceId } from '../domain/ids.ts'
import { isObject } from '../domain/json.ts'
import {
  type CallPlace,
  type Claim,
  claimCall,
  freeCall,
  type KeptAnswer,
  keepAnswer,
  prolongClaim,
  sweepCalls,
} from '../storage/idempotency.ts'
import type { Performed, SentAnswer } from './answer.ts'
import type { ApiDeps } from './operation.ts'

export const idempotencyHeader = 'Idempotency-Key'
export const replayedHeader = 'Idempotent-Replayed'
export const idempotencyKeyPattern = /^[\x20-\x7e]{1,255}$/

export const waitMs = 10_000
const longestPauseMs = 250
export const prolongEveryMs = 20_000
const sweepEveryMs = 600_000
/** One a second: as long as the claim of a call that shows no life. */
const settleTries = 60

type Parts = Pick<ApiDeps, 'database' | 'masterKeys' | 'reportError'>

/** A call with an Idempotency-Key. */
export interface KeyedCall {
  readonly workspaceId: WorkspaceId
  readonly actor: string
  /** Method, and the path with its ids. */
  readonly route: readonly string[]
  readonly idempotencyKey: string
  /** As they came. */
  readonly query: unknown
  readonly body: unknown
}

/**
 * Makes a call once: its repetitions get the first one's answer (contract.md §6). One that comes while the first runs waits for it.
 * Throws ApiError `idempotency_in_progress`, `idempotency_mismatch`.
 */
export async function once(
  deps: Parts,
  call: KeyedCall,
  run: () => Promise<Performed>,
  patienceMs = waitMs,
): Promise<SentAnswer> {
  const place = placeOf(call)
  const sealedAt: SecretPlace = {
    purpose: 'idempotent_answer',
    workspaceId: call.workspaceId,
    rowId: place.callDigest.toString('hex'),
  }
  // The key goes in because it is not stored: nobody can try phone numbers on the digest.
  const bodyDigest = sha256(canonical([call.idempotencyKey, call.query, call.body]))
  const giveUpAt = performance.now() + patienceMs
  for (let pauseMs = 10; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    const state = await claimCall(deps.database, place, bodyDigest)
    if (state.kind === 'claimed') return runClaimed(deps, place, state.claim, sealedAt, run)
    if (state.kind === 'answered') return replay(state.answerSealed, sealedAt, deps)
    if (state.kind === 'other_body') {
      throw new ApiError(
        'idempotency_mismatch',
        `this ${idempotencyHeader} stands for a call with another query or body`,
      )
    }
    if (performance.now() + pauseMs > giveUpAt) {
      throw new ApiError('idempotency_in_progress', 'the first call is not finished: try again in a minute')
    }
    await sleep(pauseMs)
  }
}

function placeOf({ workspaceId, actor, route, idempotencyKey }: KeyedCall): CallPlace {
  return { workspaceId, callDigest: sha256(JSON.stringify([actor, route, idempotencyKey])) }
}

/** JSON in which the order of members says nothing. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, member: unknown) =>
    isObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  )
}

async function runClaimed(
  deps: Parts,
  place: CallPlace,
  first: Claim,
  sealedAt: SecretPlace,
  run: () => Promise<Performed>,
): Promise<SentAnswer> {
  let claim: Promise<Claim> = Promise.resolve(first)
  const prolong = async (held: Claim) => (await prolongClaim(deps.database, place, held).catch(() => null)) ?? held
  const timer = setInterval(() => {
    claim = claim.then(prolong)
  }, prolongEveryMs)
  let performed: Performed | null = null
  try {
    performed = await run()
    return performed.answer
  } finally {
    clearInterval(timer)
    const [held, made] = [await claim, performed]
    const settle = async () => {
      // As that of a call that died, the claim runs out.
      if (made?.repetition === 'held_off') return
      if (made?.repetition !== 'answered') await freeCall(deps.database, place, held)
      else await keep(deps, place, held, sealedAt, made.answer, first.startedAt)
    }
    await settle().catch((error: unknown) => {
      deps.reportError(error, 'the answer of an idempotent call')
      void settleAgain(settle)
    })
  }
}

/** Who is not told what became of the call would make it again once its claim is over. */
async function settleAgain(settle: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < settleTries; tries++) {
    await sleep(1000, undefined, { ref: false })
    const isSettled = await settle().then(
      () => true,
      () => false,
    )
    if (isSettled) return
  }
}

function keep(
  { database, masterKeys }: Parts,
  place: CallPlace,
  claim: Claim,
  sealedAt: SecretPlace,
  answer: SentAnswer,
  begunAt: Date,
): Promise<void> {
  const answerSealed = sealSecret(JSON.stringify(answer), sealedAt, masterKeys)
  return keepAnswer(database, place, claim, { status: answer.status, answerSealed, ...personIn(answer) }, begunAt)
}

const clientIdPattern = idPattern('client')

/**
 * Whom an answer tells of, by the names that such members have in all of them: a client itself, or whose something is, and a flow token,
 * which deliveries call `resourceId`. Another id that is taken for a flow token is nobody's.
 */
function personIn({ json }: SentAnswer): Pick<KeptAnswer, 'clientId' | 'flowTokenDigest'> {
  const body: unknown = json === null ? null : JSON.parse(json)
  const { id, clientId, flowToken, resourceId } = isObject(body) ? body : {}
  const client = typeof id === 'string' && clientIdPattern.test(id) ? id : clientId
  const token = flowToken ?? resourceId
  return {
    clientId: typeof client === 'string' ? client : null,
    flowTokenDigest: typeof token === 'string' ? sha256(token) : null,
  }
}

function replay(answerSealed: Buffer, sealedAt: SecretPlace, { masterKeys }: Parts): SentAnswer {
  const opened = openSecret(answerSealed, sealedAt, masterKeys)
  // To make the call anew would be worse.
  if (opened === null) throw new Error('no master key opens the answer of an idempotent call')
  const answer = JSON.parse(opened.toString()) as SentAnswer
  return { ...answer, headers: { ...answer.headers, [replayedHeader]: 'true' } }
}

/** Removes old answers now and then. Returns what stops it. */
export function keepSweeping({ database }: Pick<ApiDeps, 'database'>): () => void {
  const sweep = async (): Promise<void> => {
    while ((await sweepCalls(database)) > 0);
  }
  // A failure is told by the calls that need the database; the next round makes up for it.
  const timer = setInterval(() => sweep().catch(() => undefined), sweepEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
