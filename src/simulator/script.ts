import { BadInput } from './bad-input.ts'
import { isObject, type JsonObject, parseJson } from './json.ts'
import { referencesIn } from './reference.ts'

const actions = ['ping', 'INIT', 'data_exchange', 'BACK', 'error'] as const

export type StepAction = (typeof actions)[number]

/** What a step's answer must be. Left out: status 200 and, for exchanges, some screen. */
export type Expectation = {
  screen?: string
  /** True: `data.acknowledged` must be true, so for an exchange the fallback; false: it must not be. */
  acknowledged?: boolean
  /** Exact `data.error_message`; of a 427, `error_msg`. */
  errorMessage?: string
  /** HTTP status, 200 unless given. */
  status?: number
}

/**
 * One call from Meta. `error` is an error notification (protocol.md 2.6). A string in `data` that is wholly `{{name.path}}` is
 * replaced by that member of an earlier step's answer, as a phone sends the ids of choices it was given:
 * `{{open.data.products.0.id}}`.
 */
export type Step = {
  name: string
  action: StepAction
  screen?: string
  data?: JsonObject
  /** In place of the play's own flow token. */
  flowToken?: string
  /** The data API version, "3.0" unless given. */
  version?: string
  expectation?: Expectation
}

type Check = (value: unknown) => string | null

const isString: Check = (value) => (typeof value === 'string' ? null : 'must be a string')
const isBoolean: Check = (value) => (typeof value === 'boolean' ? null : 'must be true or false')
const isJsonObject: Check = (value) => (isObject(value) ? null : 'must be an object')

const expectationMembers: Record<keyof Expectation, Check> = {
  screen: isString,
  acknowledged: isBoolean,
  errorMessage: isString,
  status: (value) =>
    Number.isInteger(value) && Number(value) >= 100 && Number(value) <= 599 ? null : 'must be an HTTP status',
}

const stepMembers: Record<keyof Step, Check> = {
  name: (value) => (typeof value === 'string' && /^[^.{}]+$/.test(value) ? null : 'must be a string without . { or }'),
  action: (value) => (actions.some((action) => action === value) ? null : `must be one of ${actions.join(', ')}`),
  screen: isString,
  data: isJsonObject,
  flowToken: isString,
  version: isString,
  expectation: isJsonObject,
}

/** Reads a script file: a JSON list of steps. Throws BadInput naming the member that is wrong, such as `[2].expectation.status`. */
export function parseScript(text: string): Step[] {
  const script = parseJson(text)
  if (script === undefined) throw new BadInput('is not JSON')
  if (!Array.isArray(script) || script.length === 0) throw new BadInput('must be a list of at least one step')
  const steps = script.map((step, index) => readStep(step, `[${index}]`))
  checkReferences(steps)
  return steps
}

function readStep(value: unknown, path: string): Step {
  if (!isObject(value)) throw new BadInput(`${path} must be an object`)
  checkMembers(value, stepMembers, path)
  if (value.name === undefined) throw new BadInput(`${path}.name is missing`)
  if (value.action === undefined) throw new BadInput(`${path}.action is missing`)
  if (isObject(value.expectation)) checkMembers(value.expectation, expectationMembers, `${path}.expectation`)
  return value as Step
}

function checkMembers(value: JsonObject, members: Record<string, Check>, path: string): void {
  for (const [name, member] of Object.entries(value)) {
    const check = Object.hasOwn(members, name) ? members[name] : undefined
    if (check === undefined)
      throw new BadInput(`${path}.${name} is not known; known are ${Object.keys(members).join(', ')}`)
    const problem = check(member)
    if (problem !== null) throw new BadInput(`${path}.${name} ${problem}`)
  }
}

function checkReferences(steps: Step[]): void {
  const earlier = new Set<string>()
  steps.forEach((step, index) => {
    if (earlier.has(step.name)) throw new BadInput(`[${index}].name is taken by an earlier step`)
    for (const reference of referencesIn(step.data ?? {})) {
      if (!earlier.has(reference.step))
        throw new BadInput(`[${index}].data refers to "${reference.step}", which is no earlier step`)
    }
    earlier.add(step.name)
  })
}
