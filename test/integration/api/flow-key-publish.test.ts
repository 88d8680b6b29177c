import { describe, expect, test } from 'vitest'
import { newId } from '../../../src/domain/ids.ts'
import { answerChanged, answerWith, carryOutAndHang, refuse } from '../../support/graph.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber } from './samples.ts'

const under = apiWithGraph()
const upload = 'POST /:id/whatsapp_business_encryption'
const check = 'GET /:id/whatsapp_business_encryption'
const publish = (wabaId: string, keyId: string) => under.send('POST', `/v1/wabas/${wabaId}/flow-keys/${keyId}/publish`)

describe.each(['object', 'list'] as const)('with the answer of the check as %s', (shape) => {
  test('hands the key to Meta for every channel and tells what Meta holds', async () => {
    under.fake.model.keyShape = shape
    const { wabaId, flowKeyId, publicKey, accessToken } = await under.makeWaba()
    const [first, second] = [await under.makeChannel(wabaId), await under.makeChannel(wabaId)]
    Object.assign(under.fake.model.phoneNumbers.get(second.phoneNumberId) ?? {}, { keyStatus: 'MISMATCH' })
    const answer = await publish(wabaId, flowKeyId)
    expect(answer.status).toBe(200)
    expect(answer.body.channels).toHaveLength(2)
    expect(answer.body.channels).toEqual(
      expect.arrayContaining([
        { channelId: first.id, phoneNumberId: first.phoneNumberId, status: 'VALID' },
        { channelId: second.id, phoneNumberId: second.phoneNumberId, status: 'MISMATCH' },
      ]),
    )
    expect(under.fake.model.phoneNumbers.get(first.phoneNumberId)?.publicKey).toBe(publicKey)
    expect(under.fake.callsOf(upload).map((call) => call.accessToken)).toEqual([accessToken, accessToken])
  })
})

test('one channel that fails does not keep the others from their key', async () => {
  const { wabaId, flowKeyId } = await under.makeWaba()
  const channels = [await under.makeChannel(wabaId), await under.makeChannel(wabaId), await under.makeChannel(wabaId)]
  const [one, two] = channels
  // Meta has forgotten one number, hangs at another.
  under.fake.model.phoneNumbers.delete(one.phoneNumberId)
  under.fake.next(check, carryOutAndHang())
  const { status, body, text } = await publish(wabaId, flowKeyId)
  expect(status).toBe(200)
  const byStatus = Object.groupBy(body.channels as { status: string }[], (it) => it.status)
  expect(byStatus.VALID).toHaveLength(1)
  expect(byStatus.failed).toHaveLength(2)
  const problemOf = (id: string) => body.channels.find((it: { channelId: string }) => it.channelId === id).problem
  expect(problemOf(one.id)).toEqual({
    code: 'graph_error',
    detail: expect.any(String),
    metaCode: 100,
    metaSubcode: 33,
    traceId: 'AtRaCe-0',
    retryable: false,
  })
  const codes = body.channels.map((it: { problem?: { code: string } }) => it.problem?.code)
  expect(codes.toSorted()).toEqual(['graph_error', 'graph_timeout', undefined])
  expect(text).not.toContain(two.phoneNumber)
})

test("Meta's words do not come out", async () => {
  const { wabaId, flowKeyId, accessToken } = await under.makeWaba()
  await under.makeChannel(wabaId)
  under.fake.next(upload, refuse(190, { status: 401 }))
  const answer = await publish(wabaId, flowKeyId)
  expect(answer.body.channels).toMatchObject([{ status: 'failed', problem: { metaCode: 190, retryable: false } }])
  expect(answer.text).not.toContain(accessToken)
  under.fake.next(upload, answerWith('<html>', 502))
  expect((await publish(wabaId, flowKeyId)).body.channels).toMatchObject([
    { problem: { code: 'graph_unreachable', metaCode: null, retryable: true } },
  ])
})

test('409 without an access token, without channels, and for a retired key; none of them calls Meta', async () => {
  const bare = await under.workspace.make('/v1/wabas', { wabaId: nextNumber() })
  const [key] = bare.flowKeys
  const missing = await publish(bare.wabaId, key.id)
  expect([missing.status, missing.body.code]).toEqual([409, 'access_token_missing'])
  const { wabaId, flowKeyId } = await under.makeWaba()
  const lonely = await publish(wabaId, flowKeyId)
  expect([lonely.status, lonely.body.code]).toEqual([409, 'no_channels'])
  await under.makeChannel(wabaId)
  await under.api.database.sql`update flow_keys set status = 'retired' where id = ${flowKeyId}`
  const retired = await publish(wabaId, flowKeyId)
  expect([retired.status, retired.body.code]).toEqual([409, 'flow_key_retired'])
  expect(under.fake.calls).toEqual([])
})

test('409 for a key that is retired while it is published', async () => {
  const { wabaId, flowKeyId } = await under.makeWaba()
  await under.makeChannel(wabaId)
  under.fake.next(upload, async (answering) => {
    await under.api.database.sql`update flow_keys set status = 'retired' where id = ${flowKeyId}`
    await answerChanged((standard) => standard)(answering)
  })
  const answer = await publish(wabaId, flowKeyId)
  expect([answer.status, answer.body.code]).toEqual([409, 'flow_key_retired'])
})

test('404 for a key of another WABA, of nobody, and for a WABA that is not there', async () => {
  const { wabaId, flowKeyId } = await under.makeWaba()
  const other = await under.makeWaba()
  expect((await publish(wabaId, other.flowKeyId)).status).toBe(404)
  expect((await publish(wabaId, newId('flowKey'))).status).toBe(404)
  expect((await publish(wabaId, 'x')).status).toBe(404)
  expect((await publish(nextNumber(), flowKeyId)).status).toBe(404)
})
