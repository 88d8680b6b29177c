import { z } from 'zod'

/** What Graph refuses. With a `surprise`, Relevo should never have sent it. */
export class NotAccepted extends Error {
  readonly surprise: string | null
  readonly status: number
  readonly body: unknown
  constructor(surprise: string | null, code = 100, subcode?: number) {
    super(surprise ?? `error ${code}`)
    this.surprise = surprise
    this.status = code === 190 ? 401 : 400
    const message = `(#${code}) Unsupported request`
    this.body = { message, type: 'GraphMethodException', code, error_subcode: subcode, fbtrace_id: 'AtRaCe-0' }
  }
}

export interface MetaFlowRow {
  readonly wabaId: string
  id: string
  name: string
  status: string
  categories: string[]
  validation_errors: unknown[]
  json_version?: string
  data_api_version?: string
  endpoint_uri?: string
  health_status?: unknown
  /** The text of its Flow JSON; null: it has no asset. */
  flowJson: string | null
}

interface PhoneNumberRow {
  readonly wabaId: string
  publicKey: string | null
  keyStatus: 'VALID' | 'MISMATCH'
}

/** What Meta holds. Tests change it as Meta's own pages would. */
export class GraphModel {
  readonly #knowsEveryId: boolean
  readonly #wabasOfToken = new Map<string, Set<string>>()
  readonly wabas = new Set<string>()
  readonly flows = new Map<string, MetaFlowRow>()
  readonly phoneNumbers = new Map<string, PhoneNumberRow>()
  readonly subscribed = new Set<string>()
  /** Both are seen in the field: protocol.md 4.1. */
  keyShape: 'object' | 'list' = 'object'
  pageSize = 100
  downloadsAt = ''
  #messages = 0

  constructor(knowsEveryId: boolean) {
    this.#knowsEveryId = knowsEveryId
  }

  addWaba(wabaId: string, accessToken: string): void {
    this.wabas.add(wabaId)
    this.addToken(accessToken, wabaId)
  }

  /** A token of Meta's, which sees these WABAs. */
  addToken(accessToken: string, ...wabaIds: string[]): void {
    this.#wabasOfToken.set(accessToken, new Set([...(this.#wabasOfToken.get(accessToken) ?? []), ...wabaIds]))
  }

  addPhoneNumber(wabaId: string, phoneNumberId: string): void {
    this.phoneNumbers.set(phoneNumberId, { wabaId, publicKey: null, keyStatus: 'VALID' })
  }

  addFlow(wabaId: string, id: string, more: Partial<MetaFlowRow> = {}): MetaFlowRow {
    const row: MetaFlowRow = {
      wabaId,
      id,
      name: `flow ${id}`,
      status: 'DRAFT',
      categories: ['OTHER'],
      validation_errors: [],
      flowJson: null,
      ...more,
    }
    this.flows.set(id, row)
    return row
  }

  requireToken(accessToken: string): void {
    if (this.#knowsEveryId || this.#wabasOfToken.has(accessToken)) return
    throw new NotAccepted('the token is not one of Meta’s', 190)
  }

  /** Meta says the same of what is not there and of what the token may not see. */
  #mustSee(accessToken: string, wabaId: string | undefined): void {
    if (this.#knowsEveryId) return
    const seen = wabaId !== undefined && this.#wabasOfToken.get(accessToken)?.has(wabaId)
    if (!seen) throw new NotAccepted(null, 100, 33)
  }

  waba(id: string, accessToken: string): string {
    this.#mustSee(accessToken, this.wabas.has(id) ? id : undefined)
    return id
  }

  flow(id: string, accessToken: string): MetaFlowRow {
    const row = this.flows.get(id) ?? (this.#knowsEveryId ? this.addFlow('1', id) : undefined)
    this.#mustSee(accessToken, row?.wabaId)
    if (row === undefined) throw new NotAccepted(null, 100, 33)
    return row
  }

  phoneNumber(id: string, accessToken: string): PhoneNumberRow {
    if (this.#knowsEveryId && !this.phoneNumbers.has(id)) this.addPhoneNumber('1', id)
    const row = this.phoneNumbers.get(id)
    this.#mustSee(accessToken, row?.wabaId)
    if (row === undefined) throw new NotAccepted(null, 100, 33)
    return row
  }

  nextMessageId(): string {
    return `wamid.test${++this.#messages}`
  }
}

interface RouteCall<Body> {
  readonly ids: readonly string[]
  readonly query: Readonly<Record<string, string>>
  readonly body: Body
  readonly accessToken: string
}

export interface GraphRoute {
  readonly name: string
  readonly method: string
  readonly pattern: RegExp
  readonly query: readonly string[]
  readonly body: z.ZodType
  /** Asked without a token. */
  readonly isOpen: boolean
  handle(model: GraphModel, call: RouteCall<unknown>): unknown
}

function route<B extends z.ZodType>(
  name: string,
  spec: {
    readonly query?: readonly string[]
    readonly body?: B
    readonly isOpen?: boolean
    handle(model: GraphModel, call: RouteCall<z.output<B>>): unknown
  },
): GraphRoute {
  const [method = '', path = ''] = name.split(' ')
  const pattern = new RegExp(`^${path.replaceAll(/:\w+/g, '([0-9A-Za-z_-]+)')}$`)
  const handle = spec.handle as GraphRoute['handle']
  return {
    name,
    method,
    pattern,
    query: spec.query ?? [],
    body: spec.body ?? nothing,
    isOpen: spec.isOpen ?? false,
    handle,
  }
}

const nothing = z.undefined()
const success = { success: true }
const first = (ids: readonly string[]): string => ids[0] ?? ''

const nodeFields = [
  'id',
  'name',
  'status',
  'categories',
  'validation_errors',
  'json_version',
  'data_api_version',
  'endpoint_uri',
  'health_status',
] as const

const message = z.discriminatedUnion('type', [
  z.strictObject({
    messaging_product: z.literal('whatsapp'),
    recipient_type: z.literal('individual'),
    to: z.string().regex(/^\+\d{8,15}$/),
    type: z.literal('interactive'),
    interactive: z.strictObject({
      type: z.literal('flow'),
      header: z.strictObject({ type: z.literal('text'), text: z.string().min(1).max(60) }).optional(),
      body: z.strictObject({ text: z.string().min(1).max(1024) }),
      footer: z.strictObject({ text: z.string().min(1).max(60) }).optional(),
      action: z.strictObject({
        name: z.literal('flow'),
        parameters: z.strictObject({
          flow_message_version: z.literal('3'),
          flow_id: z.string(),
          flow_token: z.string().min(1),
          flow_cta: z.string().min(1).max(30),
          mode: z.enum(['published', 'draft']).optional(),
          flow_action: z.enum(['navigate', 'data_exchange']).optional(),
          flow_action_payload: z
            .strictObject({
              screen: z.string().optional(),
              data: z.union([z.string().min(3), z.record(z.string(), z.unknown())]).optional(),
            })
            .optional(),
        }),
      }),
    }),
  }),
  z.strictObject({
    messaging_product: z.literal('whatsapp'),
    recipient_type: z.literal('individual'),
    to: z.string().regex(/^\+\d{8,15}$/),
    type: z.literal('template'),
    template: z.strictObject({
      name: z.string(),
      language: z.strictObject({ code: z.string() }),
      components: z.array(
        z.strictObject({
          type: z.enum(['header', 'body', 'button']),
          sub_type: z.string().optional(),
          index: z.string().optional(),
          parameters: z.array(z.looseObject({ type: z.string() })),
        }),
      ),
    }),
  }),
])

/** protocol.md 4, as far as Relevo uses it. */
export const graphRoutes: readonly GraphRoute[] = [
  route('GET /:id', {
    query: ['fields'],
    handle(model, { ids, query, accessToken }) {
      const id = first(ids)
      const fields = query.fields?.split(/,(?![^(]*\))/) ?? ['id']
      if (fields.join() === 'id' && !model.flows.has(id)) return { id: model.waba(id, accessToken) }
      const row = model.flow(id, accessToken)
      const preview = {
        preview_url: `https://business.test/wa/manage/flows/${id}/preview/?token=t`,
        expires_at: '2026-12-24T11:18:09+0000',
      }
      const known = Object.fromEntries(nodeFields.map((name) => [name, row[name]]))
      return Object.fromEntries([
        ['id', id],
        ...fields.map((field) => {
          if (field === 'preview.invalidate(false)') return ['preview', preview]
          if (!(field in known)) throw new NotAccepted(`unknown field ${field}`)
          return [field, known[field]]
        }),
      ])
    },
  }),
  route('POST /:id', {
    body: z.strictObject({ endpoint_uri: z.url() }),
    handle(model, { ids, body, accessToken }) {
      model.flow(first(ids), accessToken).endpoint_uri = body.endpoint_uri
      return success
    },
  }),
  route('GET /:id/flows', {
    query: ['limit', 'after'],
    handle(model, { ids, query, accessToken }) {
      const wabaId = model.waba(first(ids), accessToken)
      const rows = [...model.flows.values()].filter((row) => row.wabaId === wabaId)
      const start = query.after === undefined ? 0 : Number(Buffer.from(query.after, 'base64').toString())
      const end = start + Math.min(Number(query.limit ?? 25), model.pageSize)
      const cursors = { before: btoa(String(start)), after: btoa(String(end)) }
      const next = `https://graph.test/v25.0/${wabaId}/flows?access_token=never-follow-this&after=${cursors.after}`
      return {
        data: rows.slice(start, end).map(({ id, name, status, categories, validation_errors }) => {
          return { id, name, status, categories, validation_errors }
        }),
        ...(rows.length === 0 ? {} : { paging: { cursors, ...(end < rows.length ? { next } : {}) } }),
      }
    },
  }),
  route('GET /:id/assets', {
    handle(model, { ids, accessToken }) {
      const { id, flowJson } = model.flow(first(ids), accessToken)
      const download_url = `${model.downloadsAt}/${id}?oh=signature&oe=1`
      const data = flowJson === null ? [] : [{ name: 'flow.json', asset_type: 'FLOW_JSON', download_url }]
      return { data, paging: { cursors: { before: 'a', after: 'b' } } }
    },
  }),
  route('GET /download/:id', {
    isOpen: true,
    query: ['oh', 'oe'],
    handle: (model, { ids }) => JSON.parse(model.flows.get(first(ids))?.flowJson ?? 'null'),
  }),
  route('POST /:id/publish', {
    handle(model, { ids, accessToken }) {
      model.flow(first(ids), accessToken).status = 'PUBLISHED'
      return success
    },
  }),
  route('POST /:id/whatsapp_business_encryption', {
    body: z.strictObject({
      business_public_key: z.string().regex(/^-----BEGIN PUBLIC KEY-----\n[\s\S]+\n-----END PUBLIC KEY-----\n?$/),
    }),
    handle(model, { ids, body, accessToken }) {
      model.phoneNumber(first(ids), accessToken).publicKey = body.business_public_key
      return success
    },
  }),
  route('GET /:id/whatsapp_business_encryption', {
    handle(model, { ids, accessToken }) {
      const { publicKey, keyStatus } = model.phoneNumber(first(ids), accessToken)
      const held = { business_public_key: publicKey, business_public_key_signature_status: keyStatus }
      return model.keyShape === 'list' ? { data: [held] } : held
    },
  }),
  route('POST /:id/messages', {
    body: message,
    handle(model, { ids, body, accessToken }) {
      model.phoneNumber(first(ids), accessToken)
      const contacts = [{ input: body.to, wa_id: body.to.slice(1) }]
      return { messaging_product: 'whatsapp', contacts, messages: [{ id: model.nextMessageId() }] }
    },
  }),
  route('POST /:id/subscribed_apps', {
    handle(model, { ids, accessToken }) {
      model.subscribed.add(model.waba(first(ids), accessToken))
      return success
    },
  }),
]
