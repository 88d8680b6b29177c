import fc from 'fast-check'

type Mutation = readonly [kind: 'flip' | 'drop' | 'insert' | 'cut' | 'append', position: number, byte: number]

/** One change of a byte or of the length. `apply` never gives back what it was given. */
export const mutation: fc.Arbitrary<Mutation> = fc.tuple(
  fc.constantFrom('flip', 'drop', 'insert', 'cut', 'append'),
  fc.nat(),
  fc.integer({ min: 1, max: 255 }),
)

export function mutate(original: Uint8Array, [kind, position, byte]: Mutation): Buffer {
  const at = position % original.length
  const [before, from] = [original.subarray(0, at), original.subarray(at)]
  const mutated = {
    flip: () => Buffer.concat([before, Buffer.of((from[0] ?? 0) ^ byte), from.subarray(1)]),
    drop: () => Buffer.concat([before, from.subarray(1)]),
    insert: () => Buffer.concat([before, Buffer.of(byte), from]),
    cut: () => Buffer.from(before),
    append: () => Buffer.concat([original, Buffer.of(byte)]),
  }
  return mutated[kind]()
}
