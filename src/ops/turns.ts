/** So many at once, of each workspace one. The others wait, workspaces in turn, each one's in the order in which they came. */
export class Turns {
  readonly #atOnce: number
  readonly #running = new Set<string>()
  /** What begins each of a workspace's, the workspace whose turn is next first. */
  readonly #waiting = new Map<string, (() => void)[]>()

  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  /** Runs `work` when the workspace's turn has come. Ends as it does. */
  async run<Result>(workspaceId: string, work: () => Promise<Result>): Promise<Result> {
    if (this.#running.size < this.#atOnce && !this.#running.has(workspaceId)) this.#running.add(workspaceId)
    else await new Promise<void>((begin) => this.#wait(workspaceId, begin))
    try {
      return await work()
    } finally {
      this.#running.delete(workspaceId)
      this.#beginNext()
    }
  }

  /** How many of a workspace's run or wait. */
  countOf(workspaceId: string): number {
    return (this.#running.has(workspaceId) ? 1 : 0) + (this.#waiting.get(workspaceId)?.length ?? 0)
  }

  #wait(workspaceId: string, begin: () => void): void {
    const own = this.#waiting.get(workspaceId)
    if (own === undefined) this.#waiting.set(workspaceId, [begin])
    else own.push(begin)
  }

  #beginNext(): void {
    for (const [workspaceId, own] of this.#waiting) {
      if (this.#running.has(workspaceId)) continue
      const begin = own.shift()
      // Behind the others, if it has more.
      this.#waiting.delete(workspaceId)
      if (own.length > 0) this.#waiting.set(workspaceId, own)
      this.#running.add(workspaceId)
      begin?.()
      return
    }
  }
}
