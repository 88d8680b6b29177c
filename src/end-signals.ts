/** What asks a process to end in order. Not SIGQUIT: it stays for those who will not wait. */
export const endSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** A signal came before a command had begun what it is for. */
export class ToldToEnd extends Error {
  constructor() {
    super('told to end before it began')
  }
}

/** What was told to end did so, but not well. The message is one line that says who. */
export class EndedBadly extends Error {}

export interface HeededSignals {
  /** Aborts at the first signal. Those after it change nothing: an end bounds itself, and one cut short would leave its PostgreSQL. */
  readonly ending: AbortSignal
  /** Signals do what they do by themselves again. */
  release(): void
}

/** From now on a signal is remembered, in place of ending the process at once. */
export function heedSignals(): HeededSignals {
  const controller = new AbortController()
  const end = () => controller.abort()
  for (const name of endSignals) process.on(name, end)
  return {
    ending: controller.signal,
    release: () => {
      for (const name of endSignals) process.off(name, end)
    },
  }
}
