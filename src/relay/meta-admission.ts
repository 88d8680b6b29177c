import { verifyMetaSignature } from '../crypto/meta-signature.ts'
import type { MetaEntryDrop } from '../ops/metrics.ts'
import type { Account, Directory } from './directory.ts'

export interface AdmissionRules {
  readonly directory: Directory
  readonly platformAppSecrets: readonly string[]
  readonly signatureRequired: boolean
}

/**
 * So much is hashed for the own secrets of WABAs in one body. Anybody can send 3 MB that name a thousand WABAs; those of one Meta app share
 * a secret, so a real body needs few.
 */
const mostHashedBytes = 32 * 1024 * 1024

/** Which entries of one body its signature covers: contract.md §5. */
export class Admission {
  readonly #rules: AdmissionRules
  readonly #body: Buffer
  readonly #signature: string | undefined
  readonly #fits = new Map<string, boolean>()
  #hashedBytes = 0
  /** Signed by one of the platform's own apps. */
  readonly isByPlatform: boolean

  constructor(rules: AdmissionRules, body: Buffer, signature: string | undefined) {
    this.#rules = rules
    this.#body = body
    this.#signature = signature
    this.isByPlatform = verifyMetaSignature(body, signature, rules.platformAppSecrets)
  }

  /** The account of a WABA whose entries are to be applied, or why they are not. */
  of(wabaId: string): Account | MetaEntryDrop {
    const { directory, signatureRequired } = this.#rules
    const account = directory.waba(wabaId)
    if (account === null) return 'unknown_waba'
    if (!signatureRequired || (this.isByPlatform && account.verified)) return account
    if (account.appSecrets().some((appSecret) => this.#isSignedWith(appSecret))) return account
    return this.isByPlatform ? 'unverified' : 'signature'
  }

  #isSignedWith(appSecret: string): boolean {
    const known = this.#fits.get(appSecret)
    if (known !== undefined) return known
    if (this.#hashedBytes + this.#body.length > mostHashedBytes) return false
    this.#hashedBytes += this.#body.length
    const fits = verifyMetaSignature(this.#body, this.#signature, [appSecret])
    this.#fits.set(appSecret, fits)
    return fits
  }
}
