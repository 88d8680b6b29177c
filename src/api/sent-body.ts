/** Bytes that were sent, to be shown: the envelope as JSON, Meta's body (`format: "plain"`) as its text; null once emptied. */
export function sentBody(envelopeId: string, bytes: Buffer | null): unknown {
  const text = bytes === null ? null : bytes.toString('utf8')
  const value = jsonOrText(text)
  return isEnvelopeOf(envelopeId, value) ? value : text
}

/** JSON as a value, all else as text. */
export function jsonOrText(text: string | null): unknown {
  try {
    return text === null ? null : JSON.parse(text)
  } catch {
    return text
  }
}

function isEnvelopeOf(id: string, value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'id' in value && value.id === id
}
