import { equalBytes, randomToken, sha256 } from '../crypto/digest.ts'
import { ApiError } from '../domain/errors.ts'
import { idPrefixes, type WorkspaceId } from '../domain/ids.ts'
import { type ApiKeyScope, findApiKey, touchApiKey } from '../storage/api-keys.ts'
import type { Database } from '../storage/database.ts'

/** Who calls: the operator may do everything, a workspace key what its scopes say in its own workspace. */
export type Caller =
  | { readonly kind: 'operator' }
  | {
      readonly kind: 'workspace'
      readonly workspaceId: WorkspaceId
      readonly apiKeyId: string
      readonly scopes: readonly ApiKeyScope[]
    }

/** The caller in one word: `operator`, or the id of the API key. */
export const actorOf = (caller: Caller): string => (caller.kind === 'operator' ? 'operator' : caller.apiKeyId)

const bearer = /^bearer +([\x21-\x7e]{1,1000})$/i
const keyForm = /^rlv_([0-9a-hjkmnp-tv-z]{26})_[0-9A-Za-z]{43}$/
const shownRandomCharacters = 6
const touchAfterMs = 60_000

/** A new key of a workspace, and the part of it that lists show: enough of its random half to tell it from others. */
export function newApiKey(workspaceId: WorkspaceId): { readonly apiKey: string; readonly keyPrefix: string } {
  const head = `rlv_${workspaceId.slice(idPrefixes.workspace.length + 1)}_`
  const random = randomToken(32)
  return { apiKey: head + random, keyPrefix: head + random.slice(0, shownRandomCharacters) }
}

const tokenIn = (header: string | undefined): string | undefined => bearer.exec(header ?? '')?.[1]

/** Whether an `Authorization` header has what could be an API key: only such are looked up. */
export const namesApiKey = (header: string | undefined): boolean => keyForm.test(tokenIn(header) ?? '')

type Identify = (header: string | undefined) => Promise<Caller>

/** Tells a caller by the `Authorization` header. Throws ApiError `unauthorized`, or StorageError. */
export function makeIdentify(database: Database, adminToken: string): Identify {
  const adminDigest = sha256(adminToken)
  return async (header) => {
    const token = tokenIn(header)
    if (token === undefined) throw unauthorized('an Authorization header with a bearer token is needed')
    const tokenDigest = sha256(token)
    if (equalBytes(tokenDigest, adminDigest)) return { kind: 'operator' }
    const caller = await findKeyHolder(database, token, tokenDigest)
    if (caller === null) throw unauthorized('this token is not known')
    return caller
  }
}

async function findKeyHolder(database: Database, token: string, tokenDigest: Buffer): Promise<Caller | null> {
  const [, workspace] = keyForm.exec(token) ?? []
  if (workspace === undefined) return null
  const workspaceId = `${idPrefixes.workspace}_${workspace}` as WorkspaceId
  const found = await findApiKey(database, workspaceId, tokenDigest)
  if (found === null) return null
  if (found.lastUsedAt === null || Date.now() - found.lastUsedAt.getTime() > touchAfterMs) {
    // Not awaited, and its failure is no reason to refuse the call: the time is a convenience.
    touchApiKey(database, workspaceId, found.id).catch(() => undefined)
  }
  return { kind: 'workspace', workspaceId, apiKeyId: found.id, scopes: found.scopes }
}

function unauthorized(detail: string): ApiError {
  return new ApiError('unauthorized', detail)
}
