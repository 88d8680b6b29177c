import { ApiError } from '../domain/errors.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { Turns } from '../ops/turns.ts'

/** Each makes 4 calls of Graph at once: more than half of the 72 connections are left to those of one call, such as a message. */
const mostAtOnce = 8

/** Of one workspace, the one under way included. */
const mostOfWorkspace = 8

/** Turns of syncs of flows, hundreds of Graph calls each, in this process: one of a workspace at a time. */
export class FlowSyncTurns {
  readonly #turns = new Turns(mostAtOnce)

  /** Runs `work` when the workspace's turn has come. Ends as it does. Throws ApiError `rate_limited` where too many of the workspace's wait. */
  async run<Result>(workspaceId: WorkspaceId, work: () => Promise<Result>): Promise<Result> {
    if (this.#turns.countOf(workspaceId) >= mostOfWorkspace) {
      throw new ApiError('rate_limited', 'too many syncs of this workspace wait for each other')
    }
    return this.#turns.run(workspaceId, work)
  }
}
