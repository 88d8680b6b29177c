import { succeeded } from './answer.ts'
import type { Graph } from './client.ts'
import type { GraphResult } from './problem.ts'

// Somebody waits for the answer to another question: whether the WABA is stored.
const verifyTimeoutMs = 3000

/** Whether this token reads that WABA at Graph (contract.md §6). False where Graph cannot be asked: then it is not known. */
export async function verifyWaba(graph: Graph, wabaId: string, accessToken: string): Promise<boolean> {
  const query = { fields: 'id' }
  const result = await graph.call({ method: 'GET', path: [wabaId], query, accessToken, timeoutMs: verifyTimeoutMs })
  return result.ok && result.value.id === wabaId
}

/** Makes Meta send the WABA's events to the app that the token belongs to (protocol.md 5.2). */
export async function subscribeApp(graph: Graph, wabaId: string, accessToken: string): Promise<GraphResult<null>> {
  return succeeded(await graph.call({ method: 'POST', path: [wabaId, 'subscribed_apps'], accessToken }))
}
