import type { KeyObject } from 'node:crypto'
import { generatePrivateKey } from '../crypto/flow-key.ts'
import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { Turns } from '../ops/turns.ts'

/** Of one workspace, the one under way included. A script that registers a hundred WABAs together waits some 6 s for the last; no other workspace does. */
export const mostMakesOfWorkspace = 128

/** Makes flow keys, one after the other, workspaces in turn: each takes 50 to 500 ms of a core, and a caller may ask for dozens a second. */
export class FlowKeyMaker {
  readonly #generate: () => Promise<KeyObject>
  readonly #turns = new Turns(1)

  constructor(generate: () => Promise<KeyObject> = generatePrivateKey) {
    this.#generate = generate
  }

  /** Throws what `requireRoom` does, and ApiError `rate_limited` where too many of the workspace wait. */
  async make(workspaceId: WorkspaceId, requireRoom: () => Promise<void>): Promise<KeyObject> {
    await requireRoom()
    if (this.#turns.countOf(workspaceId) >= mostMakesOfWorkspace) {
      throw new ApiError('rate_limited', 'too many flow keys of this workspace are being made; try again')
    }
    return this.#turns.run(workspaceId, async () => {
      // Those before it may have taken the room.
      await requireRoom()
      return this.#generate()
    })
  }
}
