import { z } from 'zod'
import { ApiError } from '../domain/errors.ts'
import { subscribeApp } from '../graph/wabas.ts'
import { wabaExists } from '../storage/wabas.ts'
import { exampleWabaId } from './example.ts'
import { pathWaba } from './fields.ts'
import { accessTokenOf, graphErrors, graphErrorsDescription, succeeded } from './graph-access.ts'
import { ok, workspaceOperation } from './operation.ts'

export const subscribe = workspaceOperation({
  summary: "Make Meta send the WABA's events",
  description:
    "Subscribes the Meta app of the WABA's access token to the WABA. The app itself must be subscribed to " +
    `\`messages\` and \`flows\` at Meta. ${graphErrorsDescription}`,
  errors: graphErrors,
  example: { params: { wabaId: exampleWabaId }, answer: ok({ wabaId: exampleWabaId, subscribed: true as const }) },
  params: z.strictObject(pathWaba),
  response: { 200: z.object({ wabaId: z.string(), subscribed: z.literal(true) }) },
  async handle({ deps, workspaceId, params: { wabaId } }) {
    if (!(await wabaExists(deps.database, workspaceId, wabaId)))
      throw new ApiError('not_found', 'there is no such WABA')
    const accessToken = await accessTokenOf(deps, workspaceId, wabaId)
    succeeded(await subscribeApp(deps.graph, wabaId, accessToken))
    return ok({ wabaId, subscribed: true as const })
  },
})
