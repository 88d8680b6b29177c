import { z } from 'zod'
import { ApiError } from '../domain/errors.ts'
import { idPattern } from '../domain/ids.ts'
import { publishFlowKey } from '../graph/encryption-key.ts'
import { type Channel, channelsOfWaba } from '../storage/channels.ts'
import { findFlowKey } from '../storage/flow-keys.ts'
import { exampleId, exampleWabaId } from './example.ts'
import { found } from './existence.ts'
import { pathWaba } from './fields.ts'
import { accessTokenOf, graphProblemBody, graphProblemOf } from './graph-access.ts'
import { inParallel } from './in-parallel.ts'
import { type ApiDeps, ok, workspaceOperation } from './operation.ts'

/** A WABA has 2 numbers at first and 25 to 50 later. */
const width = 4

const channelResult = z.object({
  channelId: z.string(),
  phoneNumberId: z.string(),
  status: z.enum(['VALID', 'MISMATCH', 'failed']),
  problem: graphProblemBody.optional(),
})

export const publish = workspaceOperation({
  summary: "Hand a flow key's public half to Meta for every channel",
  description:
    'Uploads the key for each phone number of the WABA, then asks Meta which key it holds: `VALID`, or ' +
    '`MISMATCH` where it is not this one. What fails for one channel is told beside it and does not keep ' +
    'the others from theirs.',
  errors: ['access_token_missing', 'no_channels', 'flow_key_retired'],
  example: {
    params: { wabaId: exampleWabaId, keyId: exampleId('flowKey') },
    answer: ok({
      channels: [{ channelId: exampleId('channel'), phoneNumberId: '200000000000001', status: 'VALID' as const }],
    }),
  },
  params: z.strictObject({ ...pathWaba, keyId: z.string().regex(idPattern('flowKey')) }),
  response: { 200: z.object({ channels: z.array(channelResult) }) },
  async handle({ deps, workspaceId, params: { wabaId, keyId } }) {
    const find = async () => found(await findFlowKey(deps.database, workspaceId, wabaId, keyId), 'flow key')
    const flowKey = await find()
    if (flowKey.status !== 'active') {
      throw new ApiError('flow_key_retired', 'a retired key opens nothing: publish an active one')
    }
    const accessToken = await accessTokenOf(deps, workspaceId, wabaId)
    const channels = await channelsOfWaba(deps.database, workspaceId, wabaId)
    if (channels.length === 0)
      throw new ApiError('no_channels', 'keys are published by phone number: make a channel first')
    const publishTo = (channel: Channel) => publishToChannel(deps, channel, flowKey.publicKey, accessToken)
    const published = await inParallel(channels, width, publishTo)
    if ((await find()).status !== 'active') {
      throw new ApiError('flow_key_retired', 'the key was retired while it was published: publish an active one now')
    }
    return ok({ channels: published })
  },
})

async function publishToChannel(
  { graph }: ApiDeps,
  { id, phoneNumberId }: Channel,
  publicKey: string,
  accessToken: string,
): Promise<z.input<typeof channelResult>> {
  const result = await publishFlowKey(graph, { phoneNumberId, publicKey, accessToken })
  const names = { channelId: id, phoneNumberId }
  return result.ok
    ? { ...names, status: result.value }
    : { ...names, status: 'failed', problem: graphProblemOf(result.problem) }
}
