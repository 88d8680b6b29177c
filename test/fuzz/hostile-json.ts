import fc from 'fast-check'

/** JSON as it is written: members in order and as often as they come, and text that no `JSON.stringify` would make. */
export type Tree = { raw: string } | { items: Tree[] } | { members: [name: string, value: Tree][] }

export function treeOf(value: unknown): Tree {
  if (Array.isArray(value)) return { items: value.map(treeOf) }
  if (typeof value !== 'object' || value === null) return { raw: JSON.stringify(value) ?? 'null' }
  return { members: Object.entries(value).map(([name, member]) => [name, treeOf(member)]) }
}

export function write(tree: Tree): string {
  if ('raw' in tree) return tree.raw
  if ('items' in tree) return `[${tree.items.map(write).join(',')}]`
  return `{${tree.members.map(([name, value]) => `${JSON.stringify(name)}:${write(value)}`).join(',')}}`
}

/** Of each kind of character that something may stumble over. fast-check's own units of graphemes take seconds and 100 MB to be made. */
const characters = fc.constantFrom(
  ...[
    'a',
    'Z',
    '0',
    ' ',
    '/',
    '\\',
    '"',
    "'",
    '%',
    '&',
    '<',
    '{',
    '$',
    ';',
    '\t',
    '\n',
    '\r',
    '\0',
    '\x7f',
    '\x80',
    '\xff',
    'é',
    'e\u0301',
  ],
  ...['\u2028', '\u202e', '\u200d', '\ufeff', '\ufffd', '\uffff', '\ud800', '\udfff', '中', '🎉', '🏳️‍🌈', 'ẞ', 'ı', 'ﷺ'],
)

/** With halves of surrogate pairs, NUL and line ends in it. */
export const hostileText = (maxLength: number) => fc.string({ unit: characters, maxLength })

const nested = (depth: number, open = '[', close = ']') => open.repeat(depth) + close.repeat(depth)
const names = [
  ...['__proto__', 'constructor', 'prototype', 'toString', 'toJSON', 'then', 'length', 'hasOwnProperty', ''],
  ...['data', 'screen', 'action', 'id', 'error', 'error_msg', 'error_message', 'flow_token', '\0', '\ud800', '\ufeff'],
]
const fixed = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '-1',
    '1',
    '0.1',
    '1e400',
    '-1e400',
    '1e-400',
    '1E5',
    '2147483648',
    '-2147483649',
  ],
  ...['9007199254740993', '9223372036854775808', '12345678901234567890123', '1e21', '253402300800', '""', '" "', '"0"'],
  ...[
    '"\\u0000"',
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\udc00x"',
    '"\\ufeff"',
    '"\\u2028"',
    '"\\r\\nx-injected: 1"',
    '"\u202e\u0301"',
  ],
  ...[
    '"🎉💥"',
    '"__proto__"',
    '"constructor"',
    '"../../etc"',
    '"%00"',
    '"%s%n"',
    '"NaN"',
    '"true"',
    '"-1"',
    '"1e9"',
    '"🏳️‍🌈"',
  ],
  ...[
    '{}',
    '[]',
    '[[]]',
    '[null]',
    '{"":{}}',
    '{"__proto__":{"polluted":1}}',
    '{"constructor":{"prototype":{"polluted":1}}}',
  ],
  ...[
    '{"toJSON":1}',
    '{"then":1}',
    '{"length":-1}',
    '{"a":1,"a":2}',
    '"unused"',
    '"flows-builder-1"',
    '"SUCCESS"',
    '"INIT"',
  ],
  ...['"9999-12-31T23:59:59Z"', '"1969-12-31T23:59:59Z"', '"2026-02-30T00:00:00Z"', '"2026-01-01T00:00:00+23:59"'],
  ...[
    '"+275760-09-13T00:00:00Z"',
    '"2026-01-01T24:00:00Z"',
    '"+12345678"',
    '"+123456789012345"',
    '"12345678"',
    '"+1234567"',
  ],
  ...[
    '"http://127.0.0.1:1/"',
    '"http://[::1]:1/"',
    '"http://127.0.0.1:99999/"',
    '"https://u:p@127.0.0.1/"',
    '"http://0x7f.1/"',
  ],
  ...[
    '"file:///etc/passwd"',
    '"http://169.254.169.254/"',
    '"//"',
    '"http://127.0.0.1:1/\\u0000"',
    '"ws_00000000000000000000000000"',
  ],
]

/** The text of one JSON value that was not meant: of any type, at the edge of a range, or too much. */
export const hostileValue: fc.Arbitrary<string> = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom(...fixed) },
  { weight: 8, arbitrary: hostileText(20).map((text) => JSON.stringify(text)) },
  { weight: 3, arbitrary: fc.integer().map(String) },
  {
    weight: 2,
    arbitrary: fc
      .double()
      .map((value) => String(value))
      .filter((text) => !/NaN|Infinity/.test(text)),
  },
  { weight: 3, arbitrary: fc.json({ maxDepth: 3 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3000 }).map((length) => `"${'x'.repeat(length)}"`) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom(9_000, 9_000, 9_000, 9_000, 9_000, 70_000, 70_000, 300_000)
      .map((length) => `"${'é'.repeat(length / 2)}"`),
  },
  { weight: 2, arbitrary: fc.constantFrom(150, 199, 200, 201, 5_000).map((depth) => nested(depth)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(150, 201, 3_000).map((depth) => nested(depth, '{"a":', '}').replace('}', '1}')),
  },
  { weight: 1, arbitrary: fc.constantFrom(200, 3_000).map((count) => `[${'0,'.repeat(count)}0]`) },
  { weight: 1, arbitrary: fc.constantFrom(200, 2_000).map((count) => `{${manyMembers(count)}}`) },
)

function manyMembers(count: number): string {
  return Array.from({ length: count }, (_, index) => `"m${index}":${index}`).join(',')
}

const kinds = ['replace', 'remove', 'add', 'rename', 'double', 'wrap', 'list'] as const

/** One change of a document. `at` picks the value that it happens to. */
export interface JsonChange {
  readonly kind: (typeof kinds)[number]
  readonly at: number
  readonly name: string
  readonly value: string
}

/** `values`: besides the hostile ones, what is worth trying in documents of this kind. */
export function jsonChanges(maxLength: number, values: readonly string[] = []): fc.Arbitrary<JsonChange[]> {
  const value =
    values.length === 0 ? hostileValue : fc.oneof({ weight: 3, arbitrary: hostileValue }, fc.constantFrom(...values))
  const kind = fc.oneof({ weight: 6, arbitrary: fc.constant('replace' as const) }, fc.constantFrom(...kinds))
  const change = fc.record({ kind, at: fc.nat(0xffff), name: fc.constantFrom(...names), value })
  return fc.array(change, { maxLength })
}

/** A document with some changes, as text. */
export function changed(document: unknown, changes: readonly JsonChange[]): string {
  const root: Tree = { items: [treeOf(document)] }
  for (const change of changes) apply(root, change)
  return root.items.map(write).join('')
}

interface Slot {
  readonly holder: Tree
  readonly index: number
}

function slotsOf(holder: Tree): Slot[] {
  if ('raw' in holder) return []
  const values = 'items' in holder ? holder.items : holder.members.map(([, value]) => value)
  return values.flatMap((value, index) => [{ holder, index }, ...slotsOf(value)])
}

function apply(root: Tree, { kind, at, name, value }: JsonChange): void {
  const slots = slotsOf(root)
  // The document as a whole seldom: what is in its place is refused at once.
  const slot = slots[at % 16 === 0 || slots.length === 1 ? 0 : 1 + (at % (slots.length - 1))]
  if (slot === undefined) return
  const { holder, index } = slot
  const raw = { raw: value }
  if ('items' in holder) {
    const old = holder.items[index] ?? raw
    const replaced = { replace: [raw], remove: [], add: [old, raw], double: [old, old], rename: [raw] }
    // The document itself stays one value.
    const isRoot = holder === root
    if (kind === 'wrap') holder.items[index] = { members: [[name, old]] }
    else if (kind === 'list' || isRoot) holder.items[index] = kind === 'list' ? { items: [old] } : raw
    else holder.items.splice(index, 1, ...replaced[kind])
  } else if ('members' in holder) {
    const [oldName, old] = holder.members[index] ?? [name, raw]
    const replaced: Record<JsonChange['kind'], [string, Tree][]> = {
      replace: [[oldName, raw]],
      remove: [],
      add: [
        [oldName, old],
        [name, raw],
      ],
      rename: [[name, old]],
      double: [
        [oldName, old],
        [oldName, raw],
      ],
      wrap: [[oldName, { members: [[name, old]] }]],
      list: [[oldName, { items: [old] }]],
    }
    holder.members.splice(index, 1, ...replaced[kind])
  }
}
