import { pino } from 'pino'

export type Log = pino.Logger

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/**
 * JSON lines on stdout (or `destination`). Without a transport: those lose the last lines on a crash. Errors
 * are told by name and code only, because messages and stacks of libraries can hold values.
 */
export function createLog(level: LogLevel, destination?: pino.DestinationStream): Log {
  const options: pino.LoggerOptions = {
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: describeError },
  }
  return pino(options, destination ?? stdoutByTurn())
}

/** The lines of one turn of the event loop in one synchronous write: a write for each line was 4 % of an exchange. What the last turn said is written at the exit. */
function stdoutByTurn(): pino.DestinationStream {
  const stdout = pino.destination({ dest: 1, sync: true })
  let lines = ''
  const write = () => {
    const written = lines
    lines = ''
    if (written !== '') stdout.write(written)
  }
  process.on('exit', write)
  return {
    write(line) {
      if (lines === '') setImmediate(write)
      lines += line
    },
  }
}

/** What may be told of an error: its class, code, and where it was thrown, without its message. */
export function describeError(error: unknown): { name: string; code?: string; at?: string } {
  if (!(error instanceof Error)) return { name: typeof error }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const at = error.stack?.split('\n').find((line) => line.startsWith('    at '))
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    ...(at === undefined ? {} : { at: at.trim() }),
  }
}
