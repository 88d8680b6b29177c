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

/** What waits for a disk that is full, bytes: more than one turn says, so that lines are dropped only then. */
const mostWaiting = 4 * 1024 * 1024

/** The lines of one turn of the event loop in one synchronous write: a write for each line was 4 % of an exchange. What the last turn said is written at the exit. */
function stdoutByTurn(): pino.DestinationStream {
  const stdout = pino.destination({ dest: 1, sync: true, maxLength: mostWaiting })
  // A disk that is full, say: exchanges go on, and what waits is written once there is room.
  stdout.on('error', () => undefined)
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

export interface ErrorTold {
  readonly name: string
  /** Of a StorageError: which, and whose constraint; names of ours, never values. */
  readonly operation?: string
  readonly code?: string
  readonly constraint?: string
  /** Where it was thrown; of a StorageError, who asked the database. */
  readonly at?: string
}

/** What may be told of an error: its class, code and where it comes from, without its message. */
export function describeError(error: unknown): ErrorTold {
  if (!(error instanceof Error)) return { name: typeof error }
  const { operation, code, constraint } = error as { operation?: unknown; code?: unknown; constraint?: unknown }
  const at = error.stack?.split('\n').find((line) => line.startsWith('    at ') && !line.includes('node:internal'))
  return {
    name: error.name,
    ...(typeof operation === 'string' ? { operation } : {}),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof constraint === 'string' ? { constraint } : {}),
    ...(at === undefined ? {} : { at: at.trim() }),
  }
}
