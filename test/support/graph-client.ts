import { createAddressGuard } from '../../src/egress/address-guard.ts'
import { createDispatchers } from '../../src/egress/dispatcher.ts'
import { createResolver } from '../../src/egress/resolver.ts'
import { createGraph, type Graph } from '../../src/graph/client.ts'
import { failed, problemOfFailure } from '../../src/graph/problem.ts'

export interface ConnectOptions {
  /** For downloads; loopback by default. */
  readonly allowedNetworks?: readonly string[]
  readonly timeoutMs?: number
}

/** Relevo's own client, as app.ts makes it, for a fake Graph or another URL. */
export function connectGraph(baseUrl: string, options: ConnectOptions = {}): Graph {
  const { allowedNetworks = ['127.0.0.0/8'], timeoutMs = 5_000 } = options
  const resolver = createResolver()
  const guarded = createDispatchers({ guard: createAddressGuard({ allowHttp: true, allowedNetworks }), resolver })
  const graph = createGraph({ baseUrl, version: 'v25.0', resolver, guarded, timeoutMs })
  const close = async () => {
    await graph.close()
    await guarded.close()
    resolver.close()
  }
  return { ...graph, close }
}

const unreachable = async () => failed(problemOfFailure('unreachable', false))

/** A Graph that is away, for tests that are not about it. */
export const graphAway: Graph = { call: unreachable, download: unreachable, close: async () => undefined }
