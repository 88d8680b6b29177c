import { hitsIn } from '../support/known-values.ts'

/** Looks at every line that Relevo logs, and keeps none of them. */
export class Watch {
  /** By the outcome in the wide line of an exchange. */
  readonly outcomes = new Map<string, number>()
  /** Operations of the database that took more than their 5 s: the machine was busy with something else. */
  stalls = 0
  readonly #findings = new Map<string, number>()
  readonly #secrets: Record<string, string> = {}

  /** From now on these values must be in no line. */
  keepSecret(values: Readonly<Record<string, string>>): void {
    Object.assign(this.#secrets, values)
  }

  get findings(): string[] {
    return [...this.#findings].map(([what, times]) => `${what}${times > 1 ? ` (${times} times)` : ''}`)
  }

  readonly line = (text: string): void => {
    const { level, msg, outcome, route, error } = JSON.parse(text)
    if (msg === 'exchange') this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
    // What is nested too deep ends so by contract.
    const isExpected = msg === 'exchange' && outcome === 'internal_error'
    if (/^at Timeout\..*\/storage\/database\.ts/.test(error?.at ?? '')) this.stalls++
    else if ((level === 'error' || level === 'fatal') && !isExpected) {
      this.#add(`log: ${msg} ${JSON.stringify({ route, error })}`)
    }
    for (const name of hitsIn(text, this.#secrets)) this.#add(`${name} in a log line: ${msg}`)
  }

  #add(what: string): void {
    this.#findings.set(what, (this.#findings.get(what) ?? 0) + 1)
  }
}

/** What no part of the process may do, as long as it is listened to. */
export function watchProcess(): { readonly faults: string[]; stop(): void } {
  const faults: string[] = []
  const nameOf = (error: unknown) =>
    error instanceof Error ? `${error.name} ${error.stack?.split('\n')[1]?.trim()}` : typeof error
  const listeners = {
    unhandledRejection: (error: unknown) => void faults.push(`unhandled rejection: ${nameOf(error)}`),
    uncaughtException: (error: unknown) => void faults.push(`uncaught exception: ${nameOf(error)}`),
    warning: (warning: Error) => void faults.push(`warning: ${warning.name}`),
  }
  for (const [event, listener] of Object.entries(listeners)) process.on(event, listener)
  return {
    faults,
    stop: () => {
      for (const [event, listener] of Object.entries(listeners)) process.off(event, listener)
    },
  }
}
