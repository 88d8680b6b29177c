import { isSharedToken } from '../domain/flow-response.ts'
import type { WorkspaceId } from '../domain/ids.ts'

interface Rows {
  added: number
  settled: number
  /** In order of `upTo`: how many rows must be settled. */
  readonly waits: { readonly upTo: number; readonly end: () => void }[]
}

/** A map that is made anew after so many tokens has not grown old: some 0.3 s of a busy process. */
const renewedEvery = 512

/** Which flow tokens have rows on their way to the database, so that the token's next exchange can wait for them. */
export class UnwrittenTokens {
  #tokens = new Map<string, Rows>()
  #addedToMap = 0

  add(token: string | null): void {
    if (token === null) return
    // One that is old leaves old memory behind: docs/adr/0009-what-dies-young.md.
    if (++this.#addedToMap % renewedEvery === 0) this.#tokens = new Map(this.#tokens)
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
