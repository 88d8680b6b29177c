import { describe, expect, it } from 'vitest'
import {
  listFlowIds,
  publishFlow,
  readFlow,
  readFlowJson,
  readPreview,
  setEndpointUri,
} from '../../../src/graph/flows.ts'
import { answerChanged, answerWith, refuse } from '../../support/graph.ts'
import { accessToken, graphUnderTest, wabaId } from './graph-under-test.ts'

const under = graphUnderTest()
const access = { metaFlowId: '30', accessToken }

describe('the list of flows', () => {
  it('goes over all pages by cursor, never by `next`', async () => {
    const ids = Array.from({ length: 7 }, (_, index) => String(100 + index))
    for (const id of ids) under.fake.model.addFlow(wabaId, id)
    under.fake.model.pageSize = 3
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toEqual({ ok: true, value: ids })
    expect(under.fake.calls.map(({ query }) => query.after && atob(query.after))).toEqual([undefined, '3', '6'])
    under.fake.model.flows.clear()
  })

  it('of none is empty', async () => {
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toEqual({ ok: true, value: [] })
  })

  it('is as good as its worst page', async () => {
    const cursors = { after: 'x' }
    const page = answerWith({ data: [{ id: '1' }], paging: { cursors, next: 'https://graph.test/' } })
    under.fake.next('GET /:id/flows', page, refuse(80007))
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toMatchObject({
      ok: false,
      problem: { metaCode: 80007 },
    })
  })

  it('that never ends does', async () => {
    const page = answerWith({ data: [{ id: '1' }], paging: { cursors: { after: 'x' }, next: 'https://graph.test/' } })
    under.fake.next('GET /:id/flows', ...Array.from({ length: 100 }, () => page))
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toMatchObject({ ok: false })
  })

  it.each([[{}], [{ data: {} }]])('an answer of %j is none', async (answer) => {
    under.fake.next('GET /:id/flows', answerWith(answer))
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toMatchObject({ problem: { kind: 'unreadable' } })
  })

  it('leaves out what cannot be an id, and says each once', async () => {
    const data = [{ id: '1' }, { id: '../me' }, { id: 5 }, null, { id: '1' }, { id: '2' }]
    under.fake.next('GET /:id/flows', answerWith({ data }))
    expect(await listFlowIds(under.graph, wabaId, accessToken)).toEqual({ ok: true, value: ['1', '2'] })
  })
})

describe('a flow', () => {
  it('is read with all that Meta tells of it', async () => {
    under.fake.model.addFlow(wabaId, '30', {
      status: 'BLOCKED',
      data_api_version: '3.0',
      json_version: '7.1',
      endpoint_uri: 'https://x.test/',
      health_status: { can_send_message: 'BLOCKED', entities: [] },
      validation_errors: [{ error: 'INVALID_PROPERTY' }],
    })
    expect(await readFlow(under.graph, access)).toEqual({
      ok: true,
      value: {
        metaFlowId: '30',
        name: 'flow 30',
        status: 'BLOCKED',
        categories: ['OTHER'],
        dataApiVersion: '3.0',
        jsonVersion: '7.1',
        endpointUri: 'https://x.test/',
        healthStatus: { can_send_message: 'BLOCKED', entities: [] },
        validationErrors: [{ error: 'INVALID_PROPERTY' }],
      },
    })
  })

  it('of which Meta says little has nulls', async () => {
    under.fake.next('GET /:id', answerWith({ id: '30', name: 5, categories: 'x' }))
    const nothing = { name: null, status: null, categories: null, dataApiVersion: null, jsonVersion: null }
    expect(await readFlow(under.graph, access)).toMatchObject({ value: { ...nothing, healthStatus: null } })
  })

  it('is not taken for another', async () => {
    under.fake.next(
      'GET /:id',
      answerChanged((standard) => ({ ...standard, id: '31' })),
    )
    expect(await readFlow(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable' } })
  })

  it('of another WABA is not seen', async () => {
    under.fake.model.addFlow('11', '77')
    expect(await readFlow(under.graph, { metaFlowId: '77', accessToken })).toMatchObject({
      problem: { metaCode: 100, metaSubcode: 33, retryable: false },
    })
  })

  it('is given its endpoint and published', async () => {
    const row = under.fake.model.addFlow(wabaId, '30')
    expect(await setEndpointUri(under.graph, access, 'https://relevo.test/data')).toEqual({ ok: true, value: null })
    expect(await publishFlow(under.graph, access)).toEqual({ ok: true, value: null })
    expect(row).toMatchObject({ endpoint_uri: 'https://relevo.test/data', status: 'PUBLISHED' })
    under.fake.next('POST /:id/publish', answerWith({ success: false }), refuse(139002))
    expect(await publishFlow(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable' } })
    expect(await publishFlow(under.graph, access)).toMatchObject({ problem: { metaCode: 139002 } })
  })

  it('has a preview, whose link is not made anew', async () => {
    expect(await readPreview(under.graph, access)).toEqual({
      ok: true,
      value: {
        previewUrl: expect.stringMatching(/^https:\/\/business\.test\//),
        expiresAt: new Date('2026-12-24T11:18:09.000Z'),
      },
    })
    expect(under.fake.calls[0]?.query.fields).toBe('preview.invalidate(false)')
    under.fake.next('GET /:id', answerWith({ preview: { preview_url: 'https://x.test', expires_at: 'soon' } }))
    expect(await readPreview(under.graph, access)).toMatchObject({ value: { expiresAt: null } })
    under.fake.next('GET /:id', answerWith({ id: '30' }))
    expect(await readPreview(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable' } })
  })
})

describe('the Flow JSON', () => {
  it("comes through its asset's URL, which gets no token", async () => {
    const flowJson = { version: '7.1', screens: [{ id: 'A', title: 'ñ' }] }
    under.fake.model.addFlow(wabaId, '30', { flowJson: JSON.stringify(flowJson) })
    expect(await readFlowJson(under.graph, access)).toEqual({ ok: true, value: flowJson })
    expect(under.fake.callsOf('GET /download/:id')).toMatchObject([{ accessToken: null, query: { oh: 'signature' } }])
  })

  it('of a flow without one is null', async () => {
    under.fake.model.addFlow(wabaId, '30')
    expect(await readFlowJson(under.graph, access)).toEqual({ ok: true, value: null })
  })

  it('is not fetched from where the guard says no', async () => {
    for (const download_url of ['http://169.254.169.254/x', 'file:///etc/passwd', '', undefined]) {
      under.fake.next('GET /:id/assets', answerWith({ data: [{ asset_type: 'FLOW_JSON', download_url }] }))
      expect(await readFlowJson(under.graph, access)).toMatchObject({ problem: { kind: 'address_blocked' } })
    }
  })

  it('that fails does so by name', async () => {
    under.fake.model.addFlow(wabaId, '30', { flowJson: '{}' })
    under.fake.next('GET /:id/assets', refuse(2), answerWith({ data: 5 }))
    expect(await readFlowJson(under.graph, access)).toMatchObject({ problem: { metaCode: 2, retryable: true } })
    expect(await readFlowJson(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable' } })
    under.fake.next('GET /download/:id', answerWith('text'), answerWith({}, 403))
    expect(await readFlowJson(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable', httpStatus: 200 } })
    expect(await readFlowJson(under.graph, access)).toMatchObject({ problem: { kind: 'unreadable', httpStatus: 403 } })
  })
})
