import fc from 'fast-check'
import { type Kit, Kits } from './api-kit.ts'
import { type Json, type Operation, operationsOf, valuesOf } from './api-schema.ts'
import { type ByteChange, byteChanges, spoilt } from './hostile-bytes.ts'
import { changed, hostileValue, type JsonChange, jsonChanges } from './hostile-json.ts'
import { Finding, insist, isStalled, type Target, type TargetKind } from './target.ts'
import type { WireAnswer } from './wire.ts'
import { isObject, parsed, type World } from './world.ts'

type Caller = 'key' | 'operator' | 'read' | 'write' | 'nobody' | 'junk'

interface Case {
  readonly operation: number
  readonly caller: Caller
  /** Members of path, query and headers in place of the example's, by name. */
  readonly parameters: Readonly<Record<string, string | undefined>>
  /** Members of the body, as its schema has them. */
  readonly members: Readonly<Record<string, unknown>>
  readonly changes: readonly JsonChange[]
  readonly spoils: readonly ByteChange[]
  readonly contentType: string
  readonly search: string
}

/** Every operation of the OpenAPI document: path, query, headers and each member of each body. */
export const api: TargetKind = {
  name: 'api',
  share: 20,
  leavesAnswers: false,
  reaches: ['200', '201', '400', '401', '403', '404'],
  environment: { API_RATE_LIMIT: '100000', DEADLINE_MS: '300' },
  make: async (world) => makeTarget(world),
}

async function makeTarget(world: World): Promise<Target<Case>> {
  const { relevo, wire, watch } = world
  const operations = operationsOf((await relevo.api('GET', '/openapi.json')).body)
  const { ADMIN_TOKEN: adminToken } = relevo.config
  watch.keepSecret({ adminToken, accessToken: 'an-example-access-token', appSecret: 'an-example-app-secret' })
  const kits = new Kits(world)
  const endpoint = await world.account()
  return {
    cases: casesOf(operations),
    async run(one) {
      const operation = operations[one.operation]
      if (operation === undefined) throw new Finding('no operation')
      const kit = await kits.next()
      const request = requestOf(operation, one, kit, adminToken)
      const startedAt = performance.now()
      const answer = await wire.ask(request)
      if (isStalled(answer.status, startedAt)) return 'stalled'
      // Node's own, before Relevo sees anything: a head over 16 KiB.
      if (answer.status === 431) insist(request.path.length > 12_000, 'a 431 for a short head')
      else judge(operation, one, answer)
      if (operation.method === 'DELETE' && answer.status === 204) kits.spend(kit)
      if (operation.template === '/v1/workspaces' && answer.status === 201) {
        await relevo.api('DELETE', `/v1/workspaces/${JSON.parse(answer.body.toString()).id}`)
      }
      return String(answer.status)
    },
    stillWorks: () => endpoint.stillWorks(),
    show(one) {
      const { method, template, ...operation } = operations[one.operation] ?? ({} as Operation)
      return JSON.stringify({
        ...one,
        operation: `${method} ${template}`,
        body: bodyText({ method, ...operation }, one, null),
      })
    },
    close: () => kits.close(),
  }
}

function casesOf(operations: readonly Operation[]): fc.Arbitrary<Case> {
  return fc.oneof(
    ...operations.map((operation, index) => ({
      weight: operation.method === 'DELETE' ? 1 : operation.body === null ? 3 : 9,
      arbitrary: caseOf(operation, index),
    })),
  )
}

/** Members that name something: any other value is not found, and nothing else of the call is looked at. */
const references = /^(url|privateKey|.*Ids?)$/

function caseOf(operation: Operation, index: number): fc.Arbitrary<Case> {
  const properties = Object.entries<Json>(operation.body?.schema.properties ?? {}).filter(
    ([name]) => !references.test(name),
  )
  const valuesByName = properties.map(([name, schema]): [string, fc.Arbitrary<unknown>] => [name, valuesOf(schema)])
  const all = fc.record(Object.fromEntries(valuesByName), { requiredKeys: [] })
  const single = valuesByName.map(([name, value]) => value.map((member) => ({ [name]: member })))
  const hostile = hostileValue.map((json) => textIn(json).slice(0, 1000))
  const parameters = fc.record(
    Object.fromEntries(
      operation.parameters.map(({ name, schema }) => [name, fc.oneof(valuesOf(schema).map(String), hostile)]),
    ),
    { requiredKeys: [] },
  )
  // What is deleted is no longer there for the cases that follow: seldom.
  const share = operation.method === 'DELETE' ? 1 : 5
  return fc.record({
    operation: fc.constant(index),
    caller: fc.oneof(
      { weight: 6, arbitrary: fc.constant<Caller>('key') },
      { weight: 6, arbitrary: fc.constant<Caller>('operator') },
      fc.constantFrom<Caller[]>('read', 'write', 'nobody', 'junk'),
    ),
    parameters: fc.oneof({ weight: share, arbitrary: fc.constant({}) }, { weight: 4, arbitrary: parameters }),
    members: fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, all, ...single),
    changes: fc.oneof(
      { weight: 3, arbitrary: fc.constant<JsonChange[]>([]) },
      { weight: 4, arbitrary: jsonChanges(1) },
      jsonChanges(3),
    ),
    spoils: fc.oneof({ weight: 8, arbitrary: fc.constant<ByteChange[]>([]) }, byteChanges(3)),
    contentType: fc.oneof(
      { weight: 20, arbitrary: fc.constant('application/json') },
      fc.constantFrom(
        'text/plain',
        'application/json; charset=utf-16',
        'APPLICATION/JSON',
        '',
        'application/x-www-form-urlencoded',
        ';',
        'application/json; boundary="',
      ),
    ),
    search: fc.oneof(
      { weight: 20, arbitrary: fc.constant('') },
      fc.constantFrom('&&&', '__proto__=1', 'limit=1&limit=2', 'a[b]=1', '%', '%ff=%00', 'limit=1e1', 'cursor=AAAA'),
    ),
  })
}

/** What a JSON string says; all else as it is written. */
function textIn(json: string): string {
  const value = json.startsWith('"') ? parsed(json) : json
  return typeof value === 'string' ? value : json
}

function requestOf(operation: Operation, one: Case, kit: Kit, adminToken: string) {
  const fill = (value: unknown) => (value === undefined ? '' : String(kit.known.fill(value)))
  const textOf = ({ name, example }: { name: string; example?: Json }) => one.parameters[name] ?? fill(example)
  const ofKind = (kind: string) => operation.parameters.filter((parameter) => parameter.in === kind)
  const path = ofKind('path').reduce(
    (text, parameter) => text.replace(`{${parameter.name}}`, encoded(textOf(parameter))),
    operation.template,
  )
  const query = ofKind('query').filter(({ name, example }) => name in one.parameters || example !== undefined)
  const pairs = query.map((parameter) => `${parameter.name}=${encoded(textOf(parameter))}`)
  const search = [...pairs, ...(one.search === '' ? [] : [one.search])].join('&')
  const text = bodyText(operation, one, kit)
  const body = text === null ? null : spoilt(Buffer.from(text), one.spoils)
  const headers: [string, string][] = [
    ...credentials(one, kit, adminToken, operation),
    ...(body === null ? [] : [['content-type', one.contentType] as [string, string]]),
  ]
  for (const { name } of ofKind('header')) {
    const given = one.parameters[name]
    if (given !== undefined) headers.push([name, printable(given)])
  }
  return {
    method: operation.method,
    path: search === '' ? path : `${path}?${search}`,
    headers,
    ...(body === null ? {} : { body }),
  }
}

/** A head that is no HTTP is the affair of exchange-bytes.ts. */
const printable = (text: string) => text.replaceAll(/[^\x20-\x7e\xa0-\xff]/g, '').slice(0, 300)
const encoded = (text: string) => encodeURIComponent(text.toWellFormed())

function credentials(
  { caller, parameters }: Case,
  kit: Kit,
  adminToken: string,
  { isOperators }: Operation,
): [string, string][] {
  if (caller === 'nobody') return []
  const { both, read, write } = kit.tokens
  const tokens = { key: both, operator: adminToken, read, write, junk: `${both.slice(0, -3)}xyz` }
  // Nine of ten keys are of no use where only the operator may call.
  const isOperator = caller === 'operator' || (isOperators && caller === 'key')
  const token = isOperator ? adminToken : tokens[caller]
  const named: [string, string][] =
    isOperator && !isOperators && !('X-Workspace-Id' in parameters) ? [['x-workspace-id', kit.workspaceId]] : []
  return [['authorization', `Bearer ${token}`], ...named]
}

/** Null: the operation takes none, and none is sent. */
function bodyText(
  { method, body }: Pick<Operation, 'method' | 'body'>,
  { members, changes }: Case,
  kit: Kit | null,
): string | null {
  if (body === null && (method === 'GET' || changes.length === 0)) return null
  const example = body?.example ?? {}
  const filled = kit === null ? example : kit.known.fill(example)
  return changed({ ...filled, ...members }, changes)
}

/** Documented, and a problem as contract.md §6 has it. */
function judge({ method, template, answers }: Operation, one: Case, { status, headers, body }: WireAnswer): void {
  const where = `${method} ${template}`
  const value = parsed(body.toString())
  const codes = answers.get(status)
  if (status < 300) {
    insist(codes === null, `${where}: ${status} is not documented`)
    insist(status === 204 ? body.length === 0 : isObject(value), `${where}: a ${status} with another body`)
    return
  }
  insist(isObject(value), `${where}: a ${status} that is no problem`)
  const { type, title, detail, code, errors } = value
  // A path that no longer is the operation's.
  const isElsewhere = code === 'not_found' && Object.keys(one.parameters).length > 0
  insist(isElsewhere || codes?.includes(String(code)) === true, `${where}: ${status} ${code} is not documented`)
  insist(status < 500 || status === 502 || status === 504, `${where}: ${status} ${code}`)
  insist(headers['content-type'] === 'application/problem+json; charset=utf-8', `${where}: content type of a ${status}`)
  insist(type === `urn:relevo:problem:${code}` && value.status === status, `${where}: type or status of a ${status}`)
  insist(typeof title === 'string' && typeof detail === 'string', `${where}: title or detail of a ${status}`)
  insist(errors === undefined || (Array.isArray(errors) && errors.every(isFault)), `${where}: errors of a ${status}`)
}

const isFault = (fault: unknown) =>
  isObject(fault) && typeof fault.path === 'string' && typeof fault.message === 'string'
