import type { Graph } from '../graph/client.ts'
import { checkFlowKey } from '../graph/encryption-key.ts'
import type { GraphProblem } from '../graph/problem.ts'
import { type Finding, findingsOf, masterKeyMissing } from './finding.ts'

const tokens = findingsOf('graph-token')
const keys = findingsOf('graph-key')

export interface WabaAtMeta {
  readonly wabaId: string
  readonly accessToken: string | null
  /** It has a token that does not open. */
  readonly isTokenShut: boolean
  readonly phoneNumberIds: readonly string[]
  /** Of all active flow keys, SPKI PEM. */
  readonly publicKeys: readonly string[]
}

/** Whether Meta takes the access token, and holds one of our keys for each phone number. */
export async function checkAtMeta(graph: Graph, waba: WabaAtMeta): Promise<Finding[]> {
  const { wabaId, accessToken, isTokenShut, phoneNumberIds } = waba
  const named = `WABA ${wabaId}`
  if (isTokenShut) return [tokens.fail(`${named}: its access token does not open`, masterKeyMissing)]
  if (accessToken === null) {
    return [
      tokens.warn(
        `${named} has none`,
        `PATCH /v1/wabas/${wabaId} {"accessToken"}: without it Meta's side cannot be checked`,
      ),
    ]
  }
  const read = await graph.call({ method: 'GET', path: [wabaId], query: { fields: 'id' }, accessToken })
  if (!read.ok) return [judgeToken(named, wabaId, read.problem)]
  if (phoneNumberIds.length === 0) {
    return [
      tokens.ok(`${named}: Meta takes it`),
      keys.warn(`${named} has no channel`, 'POST /v1/channels for each phone number: keys are held by number'),
    ]
  }
  const findings = await Promise.all(phoneNumberIds.map((id) => checkKey(graph, waba, accessToken, id)))
  return [tokens.ok(`${named}: Meta takes it`), ...findings]
}

function judgeToken(named: string, wabaId: string, problem: GraphProblem): Finding {
  const seen = `${named}: ${problem.title}${problem.metaCode === null ? '' : ` (${problem.metaCode})`}`
  if (problem.kind === 'graph_error' && !problem.retryable) {
    return tokens.fail(seen, `make a token of a system user and PATCH /v1/wabas/${wabaId} {"accessToken"}`)
  }
  return tokens.warn(seen, 'try again; is GRAPH_API_URL reachable from here?')
}

async function checkKey(
  graph: Graph,
  { wabaId, publicKeys }: WabaAtMeta,
  accessToken: string,
  phoneNumberId: string,
): Promise<Finding> {
  const named = `WABA ${wabaId}, number ${phoneNumberId}`
  const advice = `POST /v1/wabas/${wabaId}/flow-keys/{keyId}/publish`
  const held = await checkFlowKey(graph, { phoneNumberId, publicKeys, accessToken })
  if (held.ok) {
    return held.value === 'VALID'
      ? keys.ok(`${named}: Meta holds a key of ours`)
      : keys.fail(`${named}: Meta holds another key, or none that is in order`, advice)
  }
  const { title, kind, retryable } = held.problem
  if (kind === 'graph_error' && !retryable) return keys.fail(`${named}: ${title}`, advice)
  return keys.warn(`${named}: ${title}`, 'try again')
}
