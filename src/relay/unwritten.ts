import { isSharedToken } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'

/** Which flow tokens have rows on their way to the database, so that the token's next exchange can wait for them. */
export class UnwrittenTokens {
  readonly #tokens = new Map<string, { count: number; isAwaited: boolean; readonly none: PromiseWithResolvers<void> }>()

  /** True: somebody waits for this token's rows, and so for this one. */
  add(token: string | null): boolean {
    if (token === null) return false
    const unwritten = this.#tokens.get(token)
    if (unwritten === undefined) this.#tokens.set(token, { count: 1, isAwaited: false, none: Promise.withResolvers() })
    else unwritten.count++
    return unwritten?.isAwaited ?? false
  }

  settle(token: string | null): void {
    const unwritten = token === null ? undefined : this.#tokens.get(token)
    if (token === null || unwritten === undefined || --unwritten.count > 0) return
    this.#tokens.delete(token)
    unwritten.none.resolve()
  }

  /** Undefined: none of its rows is on its way. Else somebody waits for them from here on. */
  none(token: string): Promise<void> | undefined {
    const unwritten = this.#tokens.get(token)
    if (unwritten !== undefined) unwritten.isAwaited = true
    return unwritten?.none.promise
  }
}

/** Null for what is nobody's: no exchange looks for its rows. */
export function tokenName(workspaceId: WorkspaceId, flowToken: string | null): string | null {
  return flowToken === null || isSharedToken(flowToken) ? null : `${workspaceId} ${flowToken}`
}
