import { isObject, type JsonObject } from './json.ts'

const pattern = /^\{\{([^.{}]+)\.([^{}]+)\}\}$/

export type Reference = { step: string; path: string[] }

function readReference(value: unknown): Reference | null {
  const [, step, path] = (typeof value === 'string' && pattern.exec(value)) || []
  return step === undefined || path === undefined ? null : { step, path: path.split('.') }
}

/** Every `{{step.path}}` in a step's data, however deep. */
export function referencesIn(value: unknown): Reference[] {
  const reference = readReference(value)
  if (reference !== null) return [reference]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(referencesIn) : []
}

/** The data with each reference replaced by what the earlier answers hold; the text of the first that leads nowhere instead. */
export function resolveReferences(data: JsonObject, answers: ReadonlyMap<string, JsonObject>): JsonObject | string {
  let missing: string | null = null
  const resolve = (value: unknown): unknown => {
    const reference = readReference(value)
    if (reference !== null) {
      const found = reference.path.reduce<unknown>(memberOf, answers.get(reference.step))
      if (found === undefined) missing ??= `${reference.step}.${reference.path.join('.')}`
      return found
    }
    if (Array.isArray(value)) return value.map(resolve)
    return isObject(value) ? resolveMembers(value) : value
  }
  const resolveMembers = (object: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(object).map(([name, member]) => [name, resolve(member)]))
  const resolved = resolveMembers(data)
  return missing ?? resolved
}

function memberOf(value: unknown, name: string): unknown {
  // Own members only: `constructor` is no answer.
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined
}
