/** JSON nested deeper than this is not read: contract.md §3. */
export const maxJsonDepth = 200

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
  if (json.length <= 2 * maxJsonDepth || opensFewer(json)) return false
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

/** Whether there are too few opening brackets to be too deep, those in strings counted too: found without looking at each character. */
function opensFewer(json: string): boolean {
  let left = maxJsonDepth
  for (const bracket of ['{', '[']) {
    for (let at = json.indexOf(bracket); at >= 0; at = json.indexOf(bracket, at + 1)) {
      if (--left < 0) return false
    }
  }
  return true
}
