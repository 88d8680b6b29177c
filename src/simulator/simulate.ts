import { randomBytes } from 'node:crypto'
import { BadInput } from './bad-input.ts'
import { openFlow, personalisedOffer, ping } from './journey.ts'
import { type LoadSummary, runLoad } from './load.ts'
import { writeMessage } from './message.ts'
import { createMetaClient, type MetaClient, readEndpointUri } from './meta-client.ts'
import { judge, type PlayedStep, playScript } from './play.ts'
import { referencesIn } from './reference.ts'
import { formatLoad, formatMilliseconds, formatTable } from './report.ts'
import { parseScript, type Step } from './script.ts'
import { readPublicKey } from './seal.ts'

export type SimulateOptions = {
  endpointUri: string
  publicKeyPem: string
  appSecret: string
  /** The text of a --script file; without it ping and the personalised-offer journey, under load the INIT alone. */
  scriptText?: string
  /** Exchanges a second: load instead of one play. */
  rate?: number
  /** Length of the load, 10 s unless given. */
  seconds?: number
  /** Fallbacks do not make a load fail. */
  allowFallback?: boolean
  out: (line: string) => void
}

const maxRate = 10_000
const maxSeconds = 24 * 60 * 60

/** Exit codes: 0 all as it should be, 1 not, 2 unusable input (one line said which), 130 ended by Ctrl-C. */
export async function runSimulate(options: SimulateOptions): Promise<number> {
  let run: (signal: AbortSignal) => Promise<boolean>
  try {
    run = prepare(options)
  } catch (error) {
    if (!(error instanceof BadInput)) throw error
    options.out(error.message)
    return 2
  }
  const interrupted = new AbortController()
  const interrupt = () => interrupted.abort()
  process.once('SIGINT', interrupt)
  try {
    const allRight = await run(interrupted.signal)
    if (interrupted.signal.aborted) return 130
    return allRight ? 0 : 1
  } finally {
    process.off('SIGINT', interrupt)
  }
}

/** A fresh unguessable flow token, recognisable as invented. */
export function newFlowToken(): string {
  return `simulated-${randomBytes(18).toString('base64url')}`
}

function prepare(options: SimulateOptions): (signal: AbortSignal) => Promise<boolean> {
  named('endpointUri', () => readEndpointUri(options.endpointUri))
  named('--public-key', () => readPublicKey(options.publicKeyPem))
  if (options.appSecret === '') throw new BadInput('--app-secret is empty')
  const { scriptText, rate, seconds } = options
  const steps = scriptText === undefined ? undefined : named('--script', () => parseScript(scriptText))
  checkNumber('--rate', rate, maxRate)
  checkNumber('--seconds', seconds, maxSeconds)
  if (rate === undefined && seconds !== undefined) throw new BadInput('--seconds needs --rate')
  if (rate === undefined)
    return (signal) =>
      withClient(options, (client) => play(client, steps ?? [ping, ...personalisedOffer], options, signal))
  const loadSteps = steps ?? [openFlow]
  const referring = loadSteps.find((step) => referencesIn(step.data ?? {}).length > 0)
  if (referring !== undefined)
    throw new BadInput(
      `--script: step "${referring.name}" refers to another answer, which --rate cannot give: each exchange stands alone`,
    )
  return (signal) => withClient(options, (client) => load(client, loadSteps, rate, seconds ?? 10, options, signal))
}

async function withClient(options: SimulateOptions, run: (client: MetaClient) => Promise<boolean>): Promise<boolean> {
  const client = createMetaClient(options)
  try {
    return await run(client)
  } finally {
    client.close()
  }
}

async function play(
  client: MetaClient,
  steps: readonly Step[],
  { out }: SimulateOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const played = await playScript(client, steps, { flowToken: newFlowToken(), signal })
  for (const line of formatTable(['step', 'action', 'screen', 'ms', 'result'], played.map(playedRow), ['ms'])) out(line)
  const right = played.filter((step) => step.problem === null).length
  out(`${right} of ${steps.length} steps as they should be`)
  return right === steps.length
}

function playedRow({ name, action, screen, milliseconds, problem }: PlayedStep): string[] {
  return [name, action, screen ?? '–', formatMilliseconds(milliseconds), problem ?? 'ok']
}

async function load(
  client: MetaClient,
  steps: readonly Step[],
  rate: number,
  seconds: number,
  { out, allowFallback = false }: SimulateOptions,
  signal: AbortSignal,
): Promise<boolean> {
  out(`${rate} exchanges a second for ${seconds} s: ${steps.map((step) => step.name).join(', ')}`)
  let turn = 0
  const next = () => {
    const step = steps[turn++ % steps.length] ?? openFlow
    // A flow token of its own for each: no exchange can be answered from what another left behind.
    return { message: writeMessage(step, newFlowToken()), judge: judge.bind(undefined, step) }
  }
  const summary = await runLoad({ client, rate, seconds, next, signal })
  for (const line of formatLoad(summary)) out(line)
  return isClean(summary, allowFallback)
}

function isClean({ planned, right, fallback }: LoadSummary, allowFallback: boolean): boolean {
  return right + (allowFallback ? fallback : 0) === planned
}

function named<T>(option: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof BadInput ? new BadInput(`${option}: ${error.message}`) : error
  }
}

function checkNumber(option: string, value: number | undefined, max: number): void {
  if (value === undefined || (value > 0 && value <= max)) return
  throw new BadInput(`${option} must be a number above 0, at most ${max}`)
}
