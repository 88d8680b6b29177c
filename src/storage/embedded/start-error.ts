/** The embedded PostgreSQL cannot be started, or does not stop. The message is one line that names what is wrong. */
export class EmbeddedStartError extends Error {}

/** Whatever was thrown, as an {@link EmbeddedStartError}: file system errors name their path already. */
export function asStartError(error: unknown): EmbeddedStartError {
  if (error instanceof EmbeddedStartError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new EmbeddedStartError(oneLine(message), { cause: error })
}

/** The last lines of a program's output or log that say something, as one line of bounded length, repetitions left out. */
export function lastLines(text: string, count: number): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  // PostgreSQL's own prefix, `2026-11-21 07:03:47.536 UTC [4560] `, tells nothing here.
  return oneLine(
    lines
      .slice(-count)
      .map((line) => line.replace(/^\S+ \S+ \S+ \[\d+\] /, ''))
      .join(' / '),
  )
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length <= 600 ? line : `${line.slice(0, 599)}…`
}
