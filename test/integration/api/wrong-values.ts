import type { Json } from './api-app.ts'

export interface WrongMember {
  /** From the body's root. */
  readonly path: readonly (string | number)[]
  readonly value: Json
}

const samples: Readonly<Record<string, Json>> = {
  string: 'x',
  // No integer either.
  number: 7.5,
  boolean: true,
  array: [],
  object: {},
  null: null,
}

/** The JSON types that a schema takes; null: all. */
function typesOf(schema: Json): Set<string> | null {
  const branches = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  if (branches.length > 0) {
    const types = branches.map(typesOf)
    return types.includes(null) ? null : new Set(types.flatMap((set) => [...(set ?? [])]))
  }
  return schema.type === undefined ? null : new Set([schema.type].flat())
}

/** Values of every type that the schema (JSON Schema, as zod makes it) does not take, and words that it does not list. */
export function wrongValuesOf(schema: Json): Json[] {
  const types = typesOf(schema)
  const ofWrongType = Object.entries(samples).filter(([type]) => types !== null && !types.has(type))
  return [...ofWrongType.map(([, value]) => value), ...(schema.enum === undefined ? [] : ['not-one-of-these'])]
}

/** Each member of the wrong type, one at a time, down to the innermost that the schema describes; and one more where no more may be. */
export function wrongMembersOf(schema: Json, path: readonly (string | number)[] = []): WrongMember[] {
  const branches = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  return branches.flatMap((branch: Json) => [
    ...Object.entries<Json>(branch.properties ?? {}).flatMap(([name, member]) => [
      ...wrongValuesOf(member).map((value) => ({ path: [...path, name], value })),
      ...wrongMembersOf(member, [...path, name]),
    ]),
    ...wrongItems(branch, path),
    ...(branch.additionalProperties === false ? [{ path: [...path, 'surprise'], value: 1 }] : []),
  ])
}

function wrongItems({ items }: Json, path: readonly (string | number)[]): WrongMember[] {
  if (items === undefined) return []
  const inItem = [...path, 0]
  return [...wrongValuesOf(items).map((value) => ({ path: inItem, value })), ...wrongMembersOf(items, inItem)]
}

/** A copy of the body with this value at that path; what lies on the way is made where it is not there. */
export function withMember(body: Json, { path, value }: WrongMember): Json {
  const copy = structuredClone(body ?? {})
  let at = copy
  for (const [index, name] of path.slice(0, -1).entries()) {
    const next = at[name]
    if (typeof next !== 'object' || next === null) at[name] = typeof path[index + 1] === 'number' ? [] : {}
    at = at[name]
  }
  at[path.at(-1) ?? ''] = value
  return copy
}
