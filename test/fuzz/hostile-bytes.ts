import fc from 'fast-check'

const kinds = ['flip', 'drop', 'insert', 'cut', 'copy', 'byte'] as const

/** One change of bytes. `at` and `length` are taken modulo what is there. */
export interface ByteChange {
  readonly kind: (typeof kinds)[number]
  readonly at: number
  readonly length: number
  readonly bytes: Uint8Array
}

/** Byte order mark, overlong NUL, half a surrogate pair, no UTF-8 at all, and what has a meaning in JSON, HTTP and base64. */
const hostileBytes = [
  ...['efbbbf', 'c080', 'eda080', 'f4908080', 'ff', 'fe', '00', '80', 'c3', 'e2808e'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
  ...[
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '\\',
    '\\u',
    '\\ud800',
    'e999',
    '-',
    '0',
    '=',
    '\r\n',
    '\n',
    ' ',
    '{}',
    '%',
    '%00',
    '&',
    '?',
  ].map((text) => Buffer.from(text)),
]

const change: fc.Arbitrary<ByteChange> = fc.record({
  kind: fc.constantFrom(...kinds),
  at: fc.nat(0xffffff),
  length: fc.integer({ min: 1, max: 64 }),
  bytes: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<Uint8Array[]>(...hostileBytes) },
    fc.uint8Array({ minLength: 1, maxLength: 8 }),
  ),
})

export const byteChanges = (maxLength: number): fc.Arbitrary<ByteChange[]> => fc.array(change, { maxLength })

export function spoilt(original: Uint8Array, changes: readonly ByteChange[]): Buffer {
  return changes.reduce<Buffer>((bytes, one) => apply(bytes, one), Buffer.from(original))
}

function apply(bytes: Buffer, { kind, at, length, bytes: more }: ByteChange): Buffer {
  const start = at % (bytes.length + 1)
  const [before, from] = [bytes.subarray(0, start), bytes.subarray(start)]
  switch (kind) {
    case 'flip':
      return Buffer.concat([before, from.subarray(0, 1).map((byte) => byte ^ (1 << (length % 8))), from.subarray(1)])
    case 'byte':
      return Buffer.concat([before, more.subarray(0, 1), from.subarray(1)])
    case 'drop':
      return Buffer.concat([before, from.subarray(length)])
    case 'insert':
      return Buffer.concat([before, more, from])
    case 'cut':
      return Buffer.from(before)
    case 'copy':
      return Buffer.concat([before, from.subarray(0, length), from])
  }
}
