/** The names of the values that occur in a text, as they are or written in hex or base64. */
export function hitsIn(haystack: string, values: Record<string, string | Buffer>): string[] {
  return Object.entries(values)
    .filter(([, value]) => formsOf(value).some((form) => haystack.includes(form)))
    .map(([name]) => name)
}

const forms = new Map<string | Buffer, string[]>()

function formsOf(value: string | Buffer): string[] {
  const known = forms.get(value)
  if (known !== undefined) return known
  const bytes = Buffer.from(value)
  // In base64 a value looks different at each of three offsets; its ends mix with its neighbours.
  const inBase64 = [0, 1, 2].flatMap((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replaceAll('=', '')
    const inner = shifted.slice(offset === 0 ? 0 : 4, -4)
    return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')]
  })
  const made = [bytes.toString('latin1'), bytes.toString('hex'), bytes.toString('hex').toUpperCase(), ...inBase64]
  forms.set(value, made)
  return made
}
