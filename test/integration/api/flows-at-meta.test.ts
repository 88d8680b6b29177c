import { describe, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { answerChanged, answerWith, refuse } from '../../support/graph.ts'
import { publicUrl } from './api-app.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber } from './samples.ts'

const under = apiWithGraph()
const onFlow = (id: string, verb: string) => under.send(verb === 'preview' ? 'GET' : 'POST', `/v1/flows/${id}/${verb}`)

describe('connect', () => {
  test('sets the route that names the flow, reads it back and stores what Meta says', async () => {
    const { wabaId, accessToken } = await under.makeWaba()
    const flow = await under.makeFlow(wabaId)
    const row = under.fake.model.flows.get(flow.metaFlowId)
    const endpointUri = `${publicUrl}/api/whatsapp/flows/${wabaId}/${flow.metaFlowId}/data`
    const before = under.api.changed.length
    const answer = await onFlow(flow.id, 'connect')
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({ id: flow.id, endpointUri, status: 'DRAFT', name: `flow ${flow.metaFlowId}` })
    expect(row?.endpoint_uri).toBe(endpointUri)
    expect(under.fake.calls.map((call) => [call.method, call.path, call.accessToken])).toEqual([
      ['POST', `/${flow.metaFlowId}`, accessToken],
      ['GET', `/${flow.metaFlowId}`, accessToken],
    ])
    expect((await under.workspace.get(`/v1/flows/${flow.id}`)).body.endpointUri).toBe(endpointUri)
    expect(under.api.changed.slice(before)).toEqual([under.workspace.id])
  })

  test('502 where Meta names another one afterwards, which is stored', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    under.fake.next(
      'GET /:id',
      answerChanged((it) => ({ ...it, endpoint_uri: 'https://elsewhere.test/' })),
    )
    expect((await onFlow(id, 'connect')).body).toMatchObject({ status: 502, code: 'graph_error', retryable: true })
    expect((await under.workspace.get(`/v1/flows/${id}`)).body.endpointUri).toBe('https://elsewhere.test/')
  })

  test('succeeds though Meta cannot be asked afterwards', async () => {
    const { wabaId } = await under.makeWaba()
    const { id, metaFlowId } = await under.makeFlow(wabaId, { name: 'by hand' })
    const endpointUri = `${publicUrl}/api/whatsapp/flows/${wabaId}/${metaFlowId}/data`
    under.fake.next('GET /:id', refuse(2, { status: 500 }))
    expect(await onFlow(id, 'connect')).toMatchObject({ status: 200, body: { endpointUri, name: 'by hand' } })
    expect((await under.workspace.get(`/v1/flows/${id}`)).body.endpointUri).toBe(endpointUri)
  })

  test('succeeds though Meta does not name it afterwards', async () => {
    const { wabaId } = await under.makeWaba()
    const { id, metaFlowId } = await under.makeFlow(wabaId)
    const endpointUri = `${publicUrl}/api/whatsapp/flows/${wabaId}/${metaFlowId}/data`
    under.fake.next(
      'GET /:id',
      answerChanged(({ endpoint_uri: _, ...flow }) => flow),
    )
    expect(await onFlow(id, 'connect')).toMatchObject({ status: 200, body: { endpointUri } })
  })

  test('422 where Meta refuses, and nothing is stored', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    under.fake.next('POST /:id', refuse(139001))
    expect((await onFlow(id, 'connect')).body).toMatchObject({ status: 422, metaCode: 139001, retryable: false })
    expect((await under.workspace.get(`/v1/flows/${id}`)).body.endpointUri).toBeNull()
  })
})

describe('publish', () => {
  test('publishes and reads back', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    const answer = await onFlow(id, 'publish')
    expect([answer.status, answer.body.status]).toEqual([200, 'PUBLISHED'])
    expect((await under.workspace.get(`/v1/flows/${id}`)).body.status).toBe('PUBLISHED')
    // Else an older notice of Meta's would undo it.
    const [row] = await under.api.database.sql`select status_at from flows where id = ${id}`
    expect(row?.status_at).toBeInstanceOf(Date)
  })

  test('succeeds though Meta cannot be asked afterwards', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId, { name: 'by hand' })
    under.fake.next('GET /:id', refuse(2, { status: 500 }))
    const answer = await onFlow(id, 'publish')
    expect([answer.status, answer.body.status, answer.body.name]).toEqual([200, 'PUBLISHED', 'by hand'])
  })

  test('is published though Meta still calls it a draft, and not where Meta says more', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    for (const [status, stored] of [
      ['DRAFT', 'PUBLISHED'],
      ['BLOCKED', 'BLOCKED'],
    ]) {
      under.fake.next(
        'GET /:id',
        answerChanged((it) => ({ ...it, status })),
      )
      expect((await onFlow(id, 'publish')).body.status).toBe(stored)
    }
  })

  test('422 with the code where Meta refuses', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    under.fake.next('POST /:id/publish', refuse(139002, { subcode: 4016012 }))
    expect((await onFlow(id, 'publish')).body).toMatchObject({
      status: 422,
      detail: 'the flow cannot be published',
      metaCode: 139002,
      metaSubcode: 4016012,
    })
    expect((await under.workspace.get(`/v1/flows/${id}`)).body.status).toBeNull()
  })
})

describe('preview', () => {
  test("is Meta's link and its end", async () => {
    const { wabaId } = await under.makeWaba()
    const { id, metaFlowId } = await under.makeFlow(wabaId)
    const answer = await onFlow(id, 'preview')
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      previewUrl: expect.stringContaining(metaFlowId),
      expiresAt: '2026-12-24T11:18:09.000Z',
    })
  })

  test('502 where Meta gives none', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.makeFlow(wabaId)
    under.fake.next('GET /:id', answerWith({ id: '1' }))
    expect((await onFlow(id, 'preview')).body).toMatchObject({ status: 502, code: 'graph_unreachable' })
  })
})

describe.each(['connect', 'publish', 'preview'])('%s', (verb) => {
  test('409 without an access token, 404 without a flow; neither calls Meta', async () => {
    const { wabaId } = await under.workspace.make('/v1/wabas', { wabaId: nextNumber() })
    const { id } = await under.workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
    expect((await onFlow(id, verb)).body).toMatchObject({ status: 409, code: 'access_token_missing' })
    expect((await onFlow(newId('flow'), verb)).status).toBe(404)
    expect(under.fake.calls).toEqual([])
  })

  test('422 for a flow that Meta does not know', async () => {
    const { wabaId } = await under.makeWaba()
    const { id } = await under.workspace.make('/v1/flows', { wabaId, metaFlowId: nextNumber() })
    expect((await onFlow(id, verb)).body).toMatchObject({ status: 422, metaCode: 100, metaSubcode: 33 })
  })
})
