import { afterAll, afterEach, beforeAll } from 'vitest'
import type { Graph } from '../../../src/graph/client.ts'
import { type FakeGraph, startGraph } from '../../support/graph.ts'
import { type ConnectOptions, connectGraph } from '../../support/graph-client.ts'
import { type Json, startApi, type TestApi, type TestWorkspace } from './api-app.ts'
import { channelInput, nextNumber } from './samples.ts'

/** The API beside a strict fake Graph. */
export interface ApiWithGraph {
  api: TestApi
  fake: FakeGraph
  graph: Graph
  workspace: TestWorkspace
  /** A WABA that is here and at Meta, with its access token. */
  makeWaba(): Promise<{ wabaId: string; accessToken: string; flowKeyId: string; publicKey: string }>
  /** A channel that is here and at Meta. */
  makeChannel(wabaId: string): Promise<Json>
  /** A flow that is here and at Meta, as a draft without an endpoint unless `more` says otherwise. */
  makeFlow(wabaId: string, more?: Json): Promise<Json>
  send(method: string, path: string, body?: unknown): ReturnType<TestApi['call']>
}

/** For a file's tests; each fails for a call that Graph would not have taken, and for a failure inside Relevo. */
export function apiWithGraph(options: ConnectOptions = {}): ApiWithGraph {
  const parts = {} as ApiWithGraph
  beforeAll(async () => {
    parts.fake = await startGraph()
    parts.graph = connectGraph(parts.fake.url, { timeoutMs: 1000, ...options })
    parts.api = await startApi({ graph: parts.graph })
    parts.workspace = await parts.api.makeWorkspace()
  })
  afterEach(() => parts.fake.assertNoSurprises())
  afterAll(async () => {
    await parts.api.close()
    await parts.graph.close()
    await parts.fake.close()
  })
  parts.makeWaba = async () => {
    const wabaId = nextNumber()
    const accessToken = `EAA-token-of-${wabaId}`
    parts.fake.model.addWaba(wabaId, accessToken)
    const { publicKey, flowKeys } = await parts.workspace.make('/v1/wabas', { wabaId, accessToken })
    // Forgets the call by which the token verified the WABA.
    parts.fake.assertNoSurprises()
    return { wabaId, accessToken, flowKeyId: flowKeys[0].id, publicKey }
  }
  parts.makeChannel = async (wabaId) => {
    const channel = await parts.workspace.make('/v1/channels', channelInput(wabaId))
    parts.fake.model.addPhoneNumber(wabaId, channel.phoneNumberId)
    return channel
  }
  parts.makeFlow = async (wabaId, more = {}) => {
    const flow = await parts.workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber(), ...more })
    parts.fake.model.addFlow(wabaId, flow.metaFlowId)
    return flow
  }
  parts.send = (method, path, body) => parts.api.call(method, path, { token: parts.workspace.apiKey, body })
  return parts
}
