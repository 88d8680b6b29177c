/** JSON nested deeper than this is not read: contract.md §3. */
export const maxJsonDepth = 200

/** A body with more values than this is not read: the event loop would stand still for it. A Flow JSON of 10 MB is mostly images. */
export const maxJsonValues = 200_000

/** The same for what a phone sends and a webhook replies, of which many come in a second. */
export const maxExchangeValues = 50_000

export type JsonObject = Readonly<Record<string, unknown>>

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of UTF-8 bytes, or null when they are not UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes)
  } catch {
    return null
  }
}

/** The value of a JSON text; undefined when it is not JSON. */
export function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/** The object a JSON text holds, or null when it is not JSON or not an object. */
export function parseJsonObject(json: string): JsonObject | null {
  const value = parseJson(json)
  return isObject(value) ? value : null
}

/** True if JSON text nests deeper than {@link maxJsonDepth}. Counts brackets outside strings; says nothing about validity. */
export function isTooDeep(json: string): boolean {
  if (json.length <= 2 * maxJsonDepth || hasFewer(json, ['{', '['], maxJsonDepth)) return false
  let depth = 0
  let inString = false
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (inString) {
      if (code === 0x5c) i++
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > maxJsonDepth) return true
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return false
}

/** Whether the marks occur at most `most` times, in strings too: found without looking at each character. */
function hasFewer(json: string, marks: readonly string[], most: number): boolean {
  let left = most
  for (const mark of marks) {
    for (let at = json.indexOf(mark); at >= 0; at = json.indexOf(mark, at + 1)) {
      if (--left < 0) return false
    }
  }
  return true
}

/** True if JSON text has more values than `most`, as {@link countMarks} has it. */
export function hasTooManyValues(json: string, most: number): boolean {
  return json.length > most && !hasFewer(json, [',', '{', '['], most) && countMarks(json, most) > most
}

/**
 * How many members, items, objects and arrays JSON text has in all, about: commas and opening brackets outside strings. Not counted further than
 * one more than `most`; says nothing about validity.
 */
export function countMarks(json: string, most: number): number {
  let found = 0
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === 0x22) i = endOfString(json, i)
    else if ((code === 0x2c || code === 0x7b || code === 0x5b) && ++found > most) break
  }
  return found
}

/** How many members and items there are in all, containers included. `value`: of JSON that is not too deep. */
export function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return Object.values(value).reduce<number>((sum, inner) => sum + 1 + countValues(inner), 0)
}

/** Where the string ends that begins at `start`: at its closing quote, or past the text. */
function endOfString(json: string, start: number): number {
  for (let i = start + 1; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === 0x5c) i++
    else if (code === 0x22) return i
  }
  return json.length
}

export interface Member {
  readonly name: string
  /** With its name, as it stands in the text. */
  readonly text: string
  /** Without. */
  readonly value: string
}

/** The members of the object in a JSON text, in their order, those of the same name too. `json`: an object, known to be valid. */
export function membersOf(json: string): Member[] {
  const members: Member[] = []
  let depth = 0
  let [start, nameEnd] = [-1, -1]
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === 0x22) {
      const end = endOfString(json, i)
      if (start < 0) [start, nameEnd] = [i, end + 1]
      i = end
    } else if (code === 0x7b || code === 0x5b) depth++
    else if (code === 0x7d || code === 0x5d || code === 0x2c) {
      if (start >= 0 && depth === 1) {
        const value = json.slice(nameEnd, i).trimStart().slice(1).trim()
        members.push({ name: JSON.parse(json.slice(start, nameEnd)), text: json.slice(start, i).trimEnd(), value })
        start = -1
      }
      if (code !== 0x2c) depth--
    }
  }
  return members
}
