import { isObject, type JsonObject } from './json.ts'

export const flowStatuses = ['DRAFT', 'PUBLISHED', 'DEPRECATED', 'BLOCKED', 'THROTTLED'] as const
export type FlowStatus = (typeof flowStatuses)[number]

export const flowCategories = [
  'SIGN_UP',
  'SIGN_IN',
  'APPOINTMENT_BOOKING',
  'LEAD_GENERATION',
  'CONTACT_US',
  'CUSTOMER_SUPPORT',
  'SURVEY',
  'OTHER',
] as const
export type FlowCategory = (typeof flowCategories)[number]

/** What an exchange needs to know of a flow. `screens` and `firstScreen` are null when its Flow JSON is not known. */
export interface Flow {
  readonly id: string
  readonly wabaId: string
  readonly metaFlowId: string
  readonly name: string | null
  readonly status: FlowStatus | null
  readonly categories: readonly string[] | null
  readonly dataApiVersion: string | null
  readonly endpointUri: string | null
  readonly jsonVersion: string | null
  readonly screens: readonly string[] | null
  readonly firstScreen: string | null
  /** What people are told whose flow token is expired or long completed; null lets them go on (contract.md §4). */
  readonly refuseClosedTokens: { readonly message: string } | null
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly lastSyncAt: Date | null
}

/**
 * Of a Flow JSON that is read. Every relay keeps the screens of every flow and looks through them for an exchange; no flow that people
 * go through comes near these.
 */
export const flowJsonBounds = { screens: 1000, screenIdLength: 200, routes: 10_000, versionLength: 20 } as const

export interface FlowJsonFacts {
  readonly jsonVersion: string | null
  readonly dataApiVersion: string | null
  readonly screens: readonly string[]
  readonly firstScreen: string
}

/** `path`: the members that lead to what is wrong. `message` goes on from it. */
export interface FlowJsonFault {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** What we read of a Flow JSON; the rest is Meta's business. */
interface ReadableFlowJson {
  readonly version?: string
  readonly data_api_version?: string
  readonly routing_model?: Readonly<Record<string, readonly string[]>>
  readonly screens: readonly { readonly id: string }[]
}

/** A document of 10 MB may have a million. One more than a call is told of, so that it is known that there are more. */
const mostFaults = 21

/** The facts, or null and the first faults of a document that does not tell them. */
export function readFlowJson(document: JsonObject): {
  readonly facts: FlowJsonFacts | null
  readonly faults: readonly FlowJsonFault[]
} {
  const faults = faultsIn(document).take(mostFaults).toArray()
  return { facts: faults.length === 0 ? factsOf(document as unknown as ReadableFlowJson) : null, faults }
}

/** Found as they are asked for. */
function* faultsIn({ version, data_api_version, screens, routing_model }: JsonObject): Generator<FlowJsonFault> {
  const { versionLength, screenIdLength, screens: mostScreens } = flowJsonBounds
  const versionMessage = `must be a string of at most ${versionLength} characters`
  if (version !== undefined && !isTextOf(version, 0, versionLength))
    yield { path: ['version'], message: versionMessage }
  if (data_api_version !== undefined && !isTextOf(data_api_version, 0, versionLength)) {
    yield { path: ['data_api_version'], message: versionMessage }
  }
  yield* faultsInRoutes(routing_model)
  if (!Array.isArray(screens) || screens.length === 0 || screens.length > mostScreens) {
    yield { path: ['screens'], message: `must be a list of 1 to ${mostScreens} screens` }
    return
  }
  for (const [index, screen] of screens.entries()) {
    if (isObject(screen) && isTextOf(screen.id, 1, screenIdLength)) continue
    yield { path: ['screens', index, 'id'], message: `must be a string of 1 to ${screenIdLength} characters` }
  }
}

function* faultsInRoutes(model: unknown): Generator<FlowJsonFault> {
  if (model === undefined) return
  if (!isObject(model)) return yield { path: ['routing_model'], message: 'must be an object' }
  let left: number = flowJsonBounds.routes
  for (const [from, targets] of Object.entries(model)) {
    left -= 1 + (Array.isArray(targets) ? targets.length : 0)
    if (left < 0) {
      return yield { path: ['routing_model'], message: `must be at most ${flowJsonBounds.routes} routes` }
    }
    const isList = Array.isArray(targets) && targets.every((to) => typeof to === 'string')
    if (!isList) yield { path: ['routing_model', from], message: 'must be a list of screens' }
  }
}

function isTextOf(value: unknown, min: number, max: number): boolean {
  return typeof value === 'string' && value.length >= min && value.length <= max
}

/** The first screen is the first that no other leads to (the entry screen of the routing model), else the first listed. */
function factsOf(flowJson: ReadableFlowJson): FlowJsonFacts {
  const screens = flowJson.screens.map((screen) => screen.id)
  const routes = Object.entries(flowJson.routing_model ?? {})
  const reached = new Set(routes.flatMap(([from, targets]) => targets.filter((to) => to !== from)))
  const first = screens.find((screen) => !reached.has(screen)) ?? screens[0] ?? ''
  return {
    jsonVersion: flowJson.version ?? null,
    dataApiVersion: flowJson.data_api_version ?? null,
    screens,
    firstScreen: first,
  }
}

const hasEndpoint = (flow: Flow): boolean => flow.endpointUri !== null || flow.dataApiVersion !== null
const only = (flows: readonly Flow[]): Flow | null => (flows.length === 1 ? (flows[0] ?? null) : null)

/**
 * Which flow an exchange belongs to, first that works (contract.md §4): the URL names it; the token's flow response; the
 * WABA's only flow with an endpoint; the only one that has the screen. Where the URL names a flow that we do not know, the
 * last two are not asked: they would name another one. Where no flow is known to have an endpoint, one has it all the same, as it has called: the
 * only flow there is, or the only one of which nothing but its name is known.
 */
export function tellFlow(
  flows: readonly Flow[],
  metaFlowId: string | null,
  flowIdOfToken: string | null,
  screen: string | null,
): Flow | null {
  const named = metaFlowId === null ? undefined : flows.find((flow) => flow.metaFlowId === metaFlowId)
  const told = named ?? flows.find((flow) => flow.id === flowIdOfToken)
  if (told !== undefined || metaFlowId !== null) return told ?? null
  const { withEndpoint, ofScreen } = indexOf(flows)
  const found = only(withEndpoint) ?? (screen === null ? null : (ofScreen.get(screen) ?? null))
  if (found !== null || withEndpoint.length > 0) return found
  return only(flows) ?? only(flows.filter((flow) => flow.screens === null))
}

interface FlowIndex {
  readonly withEndpoint: readonly Flow[]
  /** The only flow that has a screen: of those with an endpoint, else of all; null where several have it. */
  readonly ofScreen: ReadonlyMap<string, Flow | null>
}

/** By the list itself, which is a new one when a flow changes: thousands of screens are not to be looked through at each exchange. */
const indexes = new WeakMap<readonly Flow[], FlowIndex>()

function indexOf(flows: readonly Flow[]): FlowIndex {
  const known = indexes.get(flows)
  if (known !== undefined) return known
  const withEndpoint = flows.filter(hasEndpoint)
  const ofScreen = new Map(onlyFlows(flows))
  for (const [screen, flow] of onlyFlows(withEndpoint)) if (flow !== null) ofScreen.set(screen, flow)
  const index = { withEndpoint, ofScreen }
  indexes.set(flows, index)
  return index
}

function onlyFlows(flows: readonly Flow[]): Map<string, Flow | null> {
  const ofScreen = new Map<string, Flow | null>()
  for (const flow of flows) {
    for (const screen of new Set(flow.screens)) ofScreen.set(screen, ofScreen.has(screen) ? null : flow)
  }
  return ofScreen
}
