import type { KeyObject } from 'node:crypto'
import { generatePrivateKey } from '../crypto/flow-key.ts'
import { ApiError } from '../domain/errors.ts'

/** Keys at once, the one under way included: an operator's script may register a hundred tenants together, and the last then waits some 6 s. */
export const mostMakes = 128

/** Makes flow keys, one after the other: each takes 50 to 500 ms of a core, and a caller may ask for dozens a second. */
export class FlowKeyMaker {
  readonly #generate: () => Promise<KeyObject>
  #makes = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(generate: () => Promise<KeyObject> = generatePrivateKey) {
    this.#generate = generate
  }

  /** Throws ApiError `rate_limited` where too many wait. */
  async make(): Promise<KeyObject> {
    if (this.#makes >= mostMakes) throw new ApiError('rate_limited', 'too many flow keys are being made; try again')
    this.#makes++
    const made = this.#last.then(this.#generate)
    this.#last = made.catch(() => undefined)
    try {
      return await made
    } finally {
      this.#makes--
    }
  }
}
