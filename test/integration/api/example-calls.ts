import { exampleDeliveryId, exampleExchangeId, exampleId, exampleWabaId } from '../../../src/api/example.ts'
import type { Route } from '../../../src/api/routes.ts'
import { type IdKind, idPrefixes } from '../../../src/domain/ids.ts'
import type { Json } from './api-app.ts'

/** Every id that an example can name. */
export const exampleIds: readonly string[] = [
  ...(Object.keys(idPrefixes) as IdKind[]).map(exampleId),
  exampleWabaId,
  exampleExchangeId,
  exampleDeliveryId,
]

export interface ExampleRequest {
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, Json>>
  readonly body: Json
}

/** What stands for the ids of the examples in one workspace of a test. */
export class KnownIds {
  readonly #real = new Map<string, string>()
  readonly #given: ReadonlyMap<string, string>

  /** `given`: words that the examples' requests bring with them, and what to send in their place. */
  constructor(given: Readonly<Record<string, string>> = {}) {
    this.#given = new Map(Object.entries(given))
  }

  get(id: string): string {
    const real = this.#real.get(id)
    if (real === undefined) throw new Error(`no example has made ${id}`)
    return real
  }

  has(id: string): boolean {
    return this.#real.has(id)
  }

  set(id: string, real: string): void {
    this.#real.set(id, real)
  }

  /** The same with real ids. */
  fill<Value>(value: Value): Value {
    let text = JSON.stringify(value)
    if (text === undefined) return value
    for (const [word, real] of [...this.#given, ...this.#real])
      text = text.replaceAll(JSON.stringify(word), JSON.stringify(real))
    return JSON.parse(text)
  }

  requestOf({ example }: Route): ExampleRequest {
    const { params = {}, query = {}, body } = example
    return this.fill({ params, query, body }) as ExampleRequest
  }

  /** Finds out what an answer calls the things whose ids the documented answer shows. */
  learn(documented: Json, actual: Json): void {
    if (typeof documented === 'string' && typeof actual === 'string') {
      if (exampleIds.includes(documented) && !this.#real.has(documented)) this.#real.set(documented, actual)
    } else if (typeof documented === 'object' && typeof actual === 'object') {
      for (const name of Object.keys(documented ?? {})) this.learn(documented[name], actual?.[name] ?? null)
    }
  }

  /** Whether everything that the example names is there. */
  canCall(route: Route): boolean {
    return namedIn(requestOf(route)).every((id) => this.#real.has(id) || isGivenId(route, id))
  }
}

const requestOf = ({ example: { params, query, body } }: Route) => [params, query, body]
const namedIn = (value: unknown) => exampleIds.filter((id) => (JSON.stringify(value) ?? '').includes(`"${id}"`))

/** The ids that exist because of this call. */
export function madeBy(route: Route): string[] {
  if (route.example.answer.status !== 201) return []
  const named = namedIn(requestOf(route))
  return namedIn(route.example.answer.body).filter((id) => isGivenId(route, id) || !named.includes(id))
}

/** Ids of Meta's are given when the thing is made, and not made. */
function isGivenId(route: Route, id: string): boolean {
  return route.path === '/v1/wabas' && id === exampleWabaId
}

export type Call = (route: Route, request: ExampleRequest) => Promise<{ readonly status: number; readonly body: Json }>

/** Calls examples, each as soon as what it names is there, until there is one of everything. Returns the routes that were called. */
export async function makeExamples(routes: readonly Route[], known: KnownIds, call: Call): Promise<Set<Route>> {
  const called = new Set<Route>()
  const makesMore = (route: Route) =>
    !called.has(route) && known.canCall(route) && madeBy(route).some((id) => !known.has(id))
  for (let round = routes.filter(makesMore); round.length > 0; round = routes.filter(makesMore)) {
    for (const route of round.filter(makesMore)) {
      called.add(route)
      known.learn(route.example.answer.body, (await call(route, known.requestOf(route))).body)
    }
  }
  return called
}

/** The path with its ids and query. */
export function pathOf(route: Route, { params, query }: Pick<ExampleRequest, 'params' | 'query'>): string {
  const path = route.path.replaceAll(/:(\w+)/g, (_match, name: string) => String(params[name] ?? ''))
  const search = new URLSearchParams(Object.entries(query).map(([name, value]): [string, string] => [name, `${value}`]))
  return search.size === 0 ? path : `${path}?${search}`
}
