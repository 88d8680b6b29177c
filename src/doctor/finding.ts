/** What is looked at, in the order in which it is told. */
export const checkNames = [
  'reachable',
  'tls',
  'ping',
  'signature',
  'clock',
  'database',
  'migrations',
  'master-key',
  'spool',
  'graph-token',
  'graph-key',
] as const

export type CheckName = (typeof checkNames)[number]
export type Level = 'ok' | 'warn' | 'fail'

/** One line of the doctor's. Holds no secret, payload or phone number. */
export interface Finding {
  readonly check: CheckName
  readonly level: Level
  /** What was seen. */
  readonly message: string
  /** What to do about it; null where it is well. */
  readonly advice: string | null
}

/** What to do where something sealed does not open. */
export const masterKeyMissing =
  'the master key that it was sealed under is missing in MASTER_KEY and MASTER_KEYS_PREVIOUS'

/** Makes the findings of one check. */
export function findingsOf(check: CheckName) {
  return {
    ok: (message: string): Finding => ({ check, level: 'ok', message, advice: null }),
    warn: (message: string, advice: string): Finding => ({ check, level: 'warn', message, advice }),
    fail: (message: string, advice: string): Finding => ({ check, level: 'fail', message, advice }),
  }
}

/** The worst of them. */
export function verdictOf(findings: readonly Finding[]): Level {
  const levels = new Set(findings.map(({ level }) => level))
  if (levels.has('fail')) return 'fail'
  return levels.has('warn') ? 'warn' : 'ok'
}

/** `fail  tls          the certificate ended yesterday: renew it`. */
export function lineOf({ check, level, message, advice }: Finding): string {
  const width = Math.max(...checkNames.map((name) => name.length))
  return `${level.padEnd(4)}  ${check.padEnd(width)}  ${message}${advice === null ? '' : `: ${advice}`}`
}

/** A platform has thousands of WABAs: one line for all that are well, and this many for those that are not. */
const mostLines = 20

/** Findings about many things of a kind: `summary` tells of those that are well. */
export function summed(findings: readonly Finding[], summary: (count: number) => Finding): Finding[] {
  const wrong = findings.filter(({ level }) => level !== 'ok')
  const well = findings.length - wrong.length
  const [first] = wrong
  const rest = wrong.length - mostLines
  const more: Finding[] =
    first === undefined || rest <= 0
      ? []
      : [{ ...first, level: verdictOf(wrong.slice(mostLines)), message: `${rest} more like these`, advice: null }]
  return [...wrong.slice(0, mostLines), ...more, ...(well > 0 ? [summary(well)] : [])]
}
