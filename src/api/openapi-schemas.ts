import { z } from 'zod'

export type JsonSchema = Readonly<Record<string, unknown>>

/**
 * Turns zod schemas into JSON Schema (2020-12, as OpenAPI 3.1 takes it). Schemas that have a name, here or by `.meta({ id })`, become
 * references to components.
 */
export class SchemaBook {
  readonly #components: Record<string, JsonSchema> = {}
  readonly #registry: NamedSchemas

  constructor(names: ReadonlyMap<z.core.$ZodType, string>) {
    this.#registry = new NamedSchemas(names)
  }

  /** What a caller sends. */
  input(schema: z.ZodType): JsonSchema {
    return this.#read(schema, 'input')
  }

  /** What a caller gets. He must live with members that come later, so none are excluded. */
  output(schema: z.ZodType): JsonSchema {
    return this.#read(schema, 'output')
  }

  /** Everything that was referred to so far, by name. */
  components(): Record<string, JsonSchema> {
    return Object.fromEntries(Object.entries(this.#components).sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  #read(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    // In an object of its own, so that a schema with a name is a reference at the top, too.
    const wrapped = z.toJSONSchema(z.object({ schema }), {
      io,
      metadata: this.#registry,
      unrepresentable: 'any',
      override: ({ jsonSchema }) => simplify(jsonSchema, io),
    })
    const pointed = JSON.parse(JSON.stringify(wrapped).replaceAll('"#/$defs/', '"#/components/schemas/'))
    for (const [name, definition] of Object.entries<JsonSchema>(pointed.$defs ?? {})) {
      const { id: _id, ...component } = definition
      this.#components[name] = component
    }
    return pointed.properties.schema
  }
}

function simplify(jsonSchema: z.core.JSONSchema.BaseSchema, io: 'input' | 'output'): void {
  // The format says it; zod's pattern for it has 300 characters.
  if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
  if (io === 'output' && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties
  // zod's bounds of integers as such.
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  delete jsonSchema.propertyNames
}

/** zod's own registry, with names besides. */
class NamedSchemas extends z.core.$ZodRegistry<z.core.GlobalMeta> {
  readonly #names: ReadonlyMap<z.core.$ZodType, string>

  constructor(names: ReadonlyMap<z.core.$ZodType, string>) {
    super()
    this.#names = names
  }

  override get(schema: z.core.$ZodType): z.core.GlobalMeta | undefined {
    const known = z.globalRegistry.get(schema)
    const id = this.#names.get(schema)
    return id === undefined ? known : { ...known, id }
  }
}
