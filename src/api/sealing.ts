import { equalBytes } from '../crypto/digest.ts'
import { openSecret, type SecretPlace, sealSecret } from '../crypto/sealed-secret.ts'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import type { ApiDeps } from './operation.ts'

type Purpose = SecretPlace['purpose']

/** Seals a value for one row of the workspace. */
export type Seal = (purpose: Purpose, rowId: string, plain: string | Uint8Array) => Buffer

export function sealerFor({ masterKeys }: ApiDeps, workspaceId: WorkspaceId): Seal {
  return (purpose, rowId, plain) => sealSecret(plain, { purpose, workspaceId, rowId }, masterKeys)
}

/** The same for a member that may be left out (stays as it is) or null (emptied). */
export function sealMember(
  seal: Seal,
  purpose: Purpose,
  rowId: string,
  given: string | null | undefined,
): Buffer | null | undefined {
  return typeof given === 'string' ? seal(purpose, rowId, given) : given
}

/** Whether what is sealed for a row of the workspace is this value. False for what does not open: nothing is accepted by it. */
export function comparerFor({ masterKeys }: ApiDeps, workspaceId: WorkspaceId) {
  return (purpose: Purpose, rowId: string, sealed: Buffer, plain: string): boolean => {
    const opened = openSecret(sealed, { purpose, workspaceId, rowId }, masterKeys)
    return opened !== null && equalBytes(opened, Buffer.from(plain))
  }
}

/** Opens what was sealed for one workspace and seals it for another. Throws ApiError `internal_error` where it does not open. */
export function resealerFor({ masterKeys }: ApiDeps, from: WorkspaceId, to: WorkspaceId) {
  return (purpose: Purpose, rowId: string, sealed: Buffer): Buffer => {
    const plain = openSecret(sealed, { purpose, workspaceId: from, rowId }, masterKeys)
    if (plain === null) throw new ApiError('internal_error', 'a stored secret does not open under MASTER_KEY')
    return sealSecret(plain, { purpose, workspaceId: to, rowId }, masterKeys)
  }
}
