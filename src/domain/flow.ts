import { z } from 'zod'

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

/** What we read of a Flow JSON; the rest is Meta's business and kept as it is. */
export const flowJsonSchema = z.looseObject({
  version: z.string(),
  data_api_version: z.string().optional(),
  routing_model: z.record(z.string(), z.array(z.string())).optional(),
  screens: z.array(z.looseObject({ id: z.string().min(1) })).min(1),
})
export type FlowJson = z.infer<typeof flowJsonSchema>

export interface FlowJsonFacts {
  readonly jsonVersion: string
  readonly dataApiVersion: string | null
  readonly screens: readonly string[]
  readonly firstScreen: string
}

/** The first screen is the first that no other leads to (the entry screen of the routing model), else the first listed. */
export function readFlowJson(flowJson: FlowJson): FlowJsonFacts {
  const screens = flowJson.screens.map((screen) => screen.id)
  const routes = Object.entries(flowJson.routing_model ?? {})
  const reached = new Set(routes.flatMap(([from, targets]) => targets.filter((to) => to !== from)))
  const first = screens.find((screen) => !reached.has(screen)) ?? screens[0] ?? ''
  return {
    jsonVersion: flowJson.version,
    dataApiVersion: flowJson.data_api_version ?? null,
    screens,
    firstScreen: first,
  }
}

/** A flow that is known to have no endpoint cannot be the one that called; one that was only named by hand can. */
function mayHaveEndpoint(flow: Flow): boolean {
  return flow.endpointUri !== null || flow.dataApiVersion !== null || flow.screens === null
}

/**
 * Which flow an exchange belongs to, first that works (contract.md §4): the URL names it; the token's flow response; the
 * WABA's only flow with an endpoint; the only one that has the screen. Where the URL names a flow that we do not know, the
 * last two are not asked: they would name another one.
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
  const candidates = flows.filter(mayHaveEndpoint)
  if (candidates.length <= 1) return candidates[0] ?? null
  const withScreen = screen === null ? [] : candidates.filter((flow) => flow.screens?.includes(screen))
  return withScreen.length === 1 ? (withScreen[0] ?? null) : null
}
