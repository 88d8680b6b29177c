import closeWithGrace from 'close-with-grace'
import { endSignals } from './end-signals.ts'
import { explain } from './explain.ts'
import { describeError } from './ops/logger.ts'

/**
 * A last resort, ms: app.close() bounds itself: 8 s + 5 s for answers, then 9 s for rows; beside both, for deliveries, 5 s each for what is being read,
 * for attempts, for what became of them, and for giving back the rest.
 */
const lastResortMs = 30_000

/**
 * From now on the process ends by `close`, awaited once: after an uncaught error, and when the returned `close` is called. The exit code is 0, or 1
 * after an error, where `close` rejects, does not end within `withinMs`, or resolves with false: that it was told of already. All else is a line to `print`.
 * Signals are the caller's.
 */
export function endInOrder(print: (line: string) => void, close: () => Promise<boolean>, withinMs = lastResortMs) {
  const describe = (error: unknown) => JSON.stringify(describeError(error))
  const closeAndTell = async () => {
    const isWell = await close().catch((error: unknown) => {
      print(`not stopped in order: ${explain(error) ?? describe(error)}`)
      return false
    })
    // What is thrown here makes the exit code 1.
    if (!isWell) throw new Error('told already')
  }
  let closing: Promise<void> | null = null
  const lastWords = {
    onTimeout: () => print(`not stopped within ${withinMs} ms: ended as it is`),
    onSecondError: (error: unknown) => print(`ended by an uncaught error while stopping: ${describe(error)}`),
  }
  return closeWithGrace({ delay: withinMs, logger: false, skip: [...endSignals], ...lastWords }, async ({ err }) => {
    if (err !== undefined) print(`stopping after an uncaught error: ${describe(err)}`)
    closing ??= closeAndTell()
    await closing
  })
}
