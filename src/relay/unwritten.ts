import { isSharedToken } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'

/** Which flow tokens have rows on their way to the database, so that the token's next exchange can wait for them. */
export class UnwrittenTokens {
  readonly #tokens = new Map<string, { count: number; readonly none: PromiseWithResolvers<void> }>()

  add(token: string | null): void {
    if (token === null) return
    const unwritten = this.#tokens.get(token)
    if (unwritten === undefined) this.#tokens.set(token, { count: 1, none: Promise.withResolvers() })
    else unwritten.count++
  }

  settle(token: string | null): void {
    const unwritten = token === null ? undefined : this.#tokens.get(token)
    if (token === null || unwritten === undefined || --unwritten.count > 0) return
    this.#tokens.delete(token)
    unwritten.none.resolve()
  }

  /** Undefined: none of its rows is on its way. */
  none(token: string): Promise<void> | undefined {
    return this.#tokens.get(token)?.none.promise
  }
}

/** Null for what is nobody's: no exchange looks for its rows. */
export function tokenName(workspaceId: WorkspaceId, flowToken: string | null): string | null {
  return flowToken === null || isSharedToken(flowToken) ? null : `${workspaceId} ${flowToken}`
}
