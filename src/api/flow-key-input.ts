import type { KeyObject } from 'node:crypto'
import {
  exportPrivateKey,
  FlowKeyUnreadable,
  publicKeyFingerprint,
  publicKeyPem,
  readPrivateKey,
} from '../crypto/flow-key.ts'
import { invalidInput } from '../domain/errors.ts'
import { newId } from '../domain/ids.ts'
import type { NewFlowKey } from '../storage/flow-keys.ts'
import { possiblyEmptyText, text } from './fields.ts'
import type { ApiDeps } from './operation.ts'
import type { Seal } from './sealing.ts'

/** The members by which a flow key is imported; without them one is made. */
export const flowKeyMembers = {
  privateKey: text(20_000).optional().describe('PKCS#1 or PKCS#8 PEM, encrypted or not; left out: one is made'),
  passphrase: possiblyEmptyText(1024).optional().describe('of an encrypted `privateKey`'),
}

interface FlowKeyInput {
  readonly privateKey?: string | undefined
  readonly passphrase?: string | undefined
}

/** The key that was given, or null where one is to be made. Throws ApiError `invalid_input`, `rate_limited`. */
export async function givenFlowKey(
  { privateKey, passphrase }: FlowKeyInput,
  { flowKeyReader }: Pick<ApiDeps, 'flowKeyReader'>,
): Promise<KeyObject | null> {
  if (privateKey === undefined) {
    if (passphrase !== undefined) throw invalidInput('passphrase', 'is of no use without privateKey')
    return null
  }
  try {
    // Without a passphrase nothing is derived from it.
    return passphrase ? await flowKeyReader.read(privateKey, passphrase) : readPrivateKey(privateKey)
  } catch (error) {
    if (error instanceof FlowKeyUnreadable) throw invalidInput('privateKey', error.message)
    throw error
  }
}

export function flowKeyRow(flowKey: KeyObject, seal: Seal): NewFlowKey {
  const id = newId('flowKey')
  return {
    id,
    privateKeySealed: seal('flow_key', id, exportPrivateKey(flowKey)),
    publicKey: publicKeyPem(flowKey),
    fingerprint: publicKeyFingerprint(flowKey),
  }
}
