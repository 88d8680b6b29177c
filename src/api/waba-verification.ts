import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { verifyWaba } from '../graph/wabas.ts'
import { StorageError } from '../storage/database.ts'
import { updateWaba, type Waba } from '../storage/wabas.ts'
import type { ApiDeps } from './operation.ts'

/**
 * The WABA, verified if it was given an access token that reads it at Graph (contract.md §6). To be called once it is stored: a
 * Graph that is away leaves it as it was, and so does what keeps us from storing what it says: the caller is told what was committed before.
 */
export async function verifiedByToken(
  deps: ApiDeps,
  workspaceId: WorkspaceId,
  waba: Waba,
  accessToken: string | null | undefined,
): Promise<Waba> {
  if (!accessToken || waba.verified) return waba
  if (!(await verifyWaba(deps.graph, waba.wabaId, accessToken))) return waba
  try {
    const verified = await updateWaba(deps.database, workspaceId, waba.wabaId, { verified: true })
    await deps.configChanged(workspaceId)
    return verified
  } catch (error) {
    const isGone = error instanceof ApiError && error.code === 'not_found'
    if (!isGone && !(error instanceof StorageError)) throw error
    deps.reportError(error, 'the verification of a WABA')
    return waba
  }
}
