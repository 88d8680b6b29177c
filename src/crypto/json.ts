// Fatal, because a replacement character would let two different bodies read alike; a byte order mark is left for JSON.parse to refuse.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What is read here holds a few strings. The event loop would stand still for a megabyte of brackets. */
const mostMarks = 10_000
const marks = Buffer.from(',{[')

/** The JSON object in these UTF-8 bytes, or null: invalid UTF-8, not JSON, not an object, or with more than 10,000 commas and opening brackets. */
export function readJsonObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | null {
  if (hasTooManyMarks(bytes)) return null
  try {
    const value: unknown = JSON.parse(utf8.decode(bytes))
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** In strings too: found without looking at each byte. */
function hasTooManyMarks(bytes: Uint8Array): boolean {
  let left = mostMarks
  for (const mark of marks) {
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
      if (--left < 0) return true
    }
  }
  return false
}
