import { exampleDeliveryId, exampleExchangeId, exampleId, exampleWabaId } from '../../src/api/example.ts'
import { routes } from '../../src/api/routes.ts'
import { KnownIds, makeExamples, pathOf } from '../integration/api/example-calls.ts'
import { insertDelivery, insertExchange } from '../support/log-rows.ts'
import { create } from '../support/relevo.ts'
import { Finding, insist } from './target.ts'
import { canary, privateKey, type World } from './world.ts'

/** A workspace with one of everything that the document's examples name, which all lanes share. */
export interface Kit {
  readonly known: KnownIds
  readonly workspaceId: string
  readonly tokens: { readonly both: string; readonly read: string; readonly write: string }
}

let made = 0
const nextNumber = () => String(700_000_000_000 + ++made)

async function makeKit({ relevo, sql, tenant, watch }: World): Promise<Kit> {
  const known = new KnownIds({
    [exampleWabaId]: nextNumber(),
    'https://backend.example.com/flows': `${tenant.url}/told`,
    'offer-2026-05-0001': `${canary.flowToken}-${++made}`,
  })
  await makeExamples(routes, known, async (route, { params, query, body }) => {
    const workspaceId = known.has(exampleId('workspace')) ? known.get(exampleId('workspace')) : ''
    const withKey = route.path === '/v1/wabas' ? { ...body, privateKey } : body
    const answer = await relevo.api(route.method, pathOf(route, { params, query }), {
      body: withKey,
      ...(route.scope === 'operator' ? {} : { workspaceId }),
    })
    if (answer.status >= 300) throw new Finding(`${route.method} ${route.path} by its example: ${answer.status}`)
    return answer
  })
  const workspaceId = known.get(exampleId('workspace'))
  known.set(exampleExchangeId, await insertExchange(sql, workspaceId))
  known.set(exampleDeliveryId, await insertDelivery(sql, workspaceId))
  const apiKey = async (...scopes: string[]): Promise<string> =>
    (await create(relevo, `/v1/workspaces/${workspaceId}/api-keys`, { name: 'fuzz', scopes })).key
  const tokens = { both: await apiKey('read', 'write'), read: await apiKey('read'), write: await apiKey('write') }
  watch.keepSecret({ both: tokens.both })
  return { known, workspaceId, tokens }
}

/** After so many cases there is a new one, so that lists stay short and what was changed is as at first. */
const mostCases = 2000

/** The kit in use, and the next one once something of it was deleted. */
export class Kits {
  readonly #world: World
  #kit: Promise<Kit>
  #cases = 0

  constructor(world: World) {
    this.#world = world
    this.#kit = makeKit(world)
  }

  async next(): Promise<Kit> {
    const kit = await this.#kit
    if (++this.#cases === mostCases) this.spend(kit)
    return this.#kit
  }

  /** Calls that are under way in its workspace see it go. */
  spend(kit: Kit): void {
    if (this.#cases === 0) return
    this.#cases = 0
    this.#kit = makeKit(this.#world).finally(() => this.#remove(kit))
  }

  async close(): Promise<void> {
    await this.#remove(await this.#kit)
  }

  async #remove({ workspaceId }: Kit): Promise<void> {
    const { relevo, graph } = this.#world
    const { status } = await relevo.api('DELETE', `/v1/workspaces/${workspaceId}`)
    insist(status === 204 || status === 404, `${status} for the deletion of a workspace`)
    graph.model.flows.clear()
    graph.model.phoneNumbers.clear()
    // Graph was sent what Graph does not take.
    graph.assertNoSurprises()
  }
}
