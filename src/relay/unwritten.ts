import { isSharedToken } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'
import { YoungMap } from '../ops/young.ts'

interface Rows {
  added: number
  settled: number
  /** In order of `upTo`: how many rows must be settled. */
  readonly waits: { readonly upTo: number; readonly end: () => void }[]
}

/** Which flow tokens have rows on their way to the database, so that the token's next exchange can wait for them. */
export class UnwrittenTokens {
  readonly #tokens = new YoungMap<string, Rows>()

  add(token: string | null): void {
    if (token === null) return
    const rows = this.#tokens.get(token)
    if (rows === undefined) this.#tokens.set(token, { added: 1, settled: 0, waits: [] })
    else rows.added++
  }

  settle(token: string | null): void {
    const rows = token === null ? undefined : this.#tokens.get(token)
    if (token === null || rows === undefined) return
    rows.settled++
    while ((rows.waits[0]?.upTo ?? Number.POSITIVE_INFINITY) <= rows.settled) rows.waits.shift()?.end()
    if (rows.settled === rows.added) this.#tokens.delete(token)
  }

  /** Resolves when the rows that it has now are written; undefined: none of its rows is on its way. */
  written(token: string): Promise<void> | undefined {
    const rows = this.#tokens.get(token)
    if (rows === undefined) return undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    rows.waits.push({ upTo: rows.added, end: resolve })
    return promise
  }
}

/** Null for what is nobody's: no exchange looks for its rows. */
export function tokenName(workspaceId: WorkspaceId, flowToken: string | null): string | null {
  return flowToken === null || isSharedToken(flowToken) ? null : `${workspaceId} ${flowToken}`
}
