import { isObject, type JsonObject } from './json.ts'
import { writeMessage } from './message.ts'
import type { ExchangeResult, MetaClient } from './meta-client.ts'
import { resolveReferences } from './reference.ts'
import type { Step, StepAction } from './script.ts'

/** One played step. `problem` is null when the answer was as the step expects. */
export type PlayedStep = {
  name: string
  action: StepAction
  /** The screen that was answered; null where there was none. */
  screen: string | null
  milliseconds: number
  problem: string | null
  result: ExchangeResult
}

export type PlayOptions = { flowToken: string; signal?: AbortSignal; onStep?: (played: PlayedStep) => void }

/** Plays a script's steps one after the other. A step that goes wrong does not stop the rest; an aborted signal does. */
export async function playScript(
  client: MetaClient,
  steps: readonly Step[],
  options: PlayOptions,
): Promise<PlayedStep[]> {
  const answers = new Map<string, JsonObject>()
  const played: PlayedStep[] = []
  for (const step of steps) {
    if (options.signal?.aborted) break
    const done = await playStep(client, step, options.flowToken, answers)
    if (done.result.answer !== null) answers.set(step.name, done.result.answer)
    played.push(done)
    options.onStep?.(done)
  }
  return played
}

async function playStep(
  client: MetaClient,
  step: Step,
  flowToken: string,
  answers: ReadonlyMap<string, JsonObject>,
): Promise<PlayedStep> {
  const data = step.data === undefined ? undefined : resolveReferences(step.data, answers)
  const result =
    typeof data === 'string'
      ? notSent(`not sent: no answer holds ${data}`)
      : await client.exchange(writeMessage(step, flowToken, data))
  return {
    name: step.name,
    action: step.action,
    screen: screenOf(result),
    milliseconds: result.milliseconds,
    problem: judge(step, result),
    result,
  }
}

// What a person at the keyboard most likely has to change (protocol.md 1.7).
const hints = new Map<number | null, string>([
  [404, ' (unknown address)'],
  [421, " (cannot be decrypted: is it this endpoint's public key?)"],
  [432, " (signature refused: is it this endpoint's app secret?)"],
])

/** Why an answer is not what its step expects, or null. Without an expectation: a 200 that decrypts and is no fallback. */
export function judge({ expectation = {} }: Pick<Step, 'expectation'>, result: ExchangeResult): string | null {
  if (result.problem !== null) return result.problem
  const status = expectation.status ?? 200
  if (result.status !== status) return `status ${result.status}${hints.get(result.status) ?? ''} instead of ${status}`
  const data = isObject(result.answer?.data) ? result.answer.data : {}
  if (expectation.acknowledged === undefined) {
    if (result.kind === 'fallback') return `the fallback instead of ${expectation.screen ?? 'a screen'}`
  } else if ((data.acknowledged === true) !== expectation.acknowledged) {
    return expectation.acknowledged ? 'not acknowledged' : 'acknowledged, which it should not be'
  }
  const screen = screenOf(result)
  if (expectation.screen !== undefined && screen !== expectation.screen) {
    return `screen ${screen ?? 'missing'} instead of ${expectation.screen}`
  }
  const errorMessage = result.kind === 'token_refused' ? result.answer?.error_msg : data.error_message
  if (expectation.errorMessage !== undefined && errorMessage !== expectation.errorMessage) {
    return errorMessage === undefined ? 'no error message' : 'another error message than expected'
  }
  return null
}

function screenOf({ answer }: ExchangeResult): string | null {
  return typeof answer?.screen === 'string' ? answer.screen : null
}

function notSent(problem: string): ExchangeResult {
  return { kind: 'not_sent', status: null, answer: null, milliseconds: 0, problem }
}
