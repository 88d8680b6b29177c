import type { JsonObject } from '../domain/json.ts'
import { failed, type GraphResult, unreadable } from './problem.ts'

/** For calls whose good answer is `{"success":true}`. */
export function succeeded(result: GraphResult<JsonObject>): GraphResult<null> {
  if (!result.ok) return result
  return result.value.success === true ? { ok: true, value: null } : failed(unreadable(200))
}

/** A member that is a string, else null: Meta leaves members out where it has nothing to say. */
export function textIn(object: JsonObject, name: string): string | null {
  const value = object[name]
  return typeof value === 'string' ? value : null
}
