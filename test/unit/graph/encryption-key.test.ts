import { expect, it } from 'vitest'
import { publishFlowKey } from '../../../src/graph/encryption-key.ts'
import { answerChanged, answerWith, refuse } from '../../support/graph.ts'
import { accessToken, graphUnderTest, wabaId } from './graph-under-test.ts'

const under = graphUnderTest()
const publicKey = '-----BEGIN PUBLIC KEY-----\nAAAA\nBBBB\n-----END PUBLIC KEY-----\n'
const route = '/:id/whatsapp_business_encryption'
const publish = () => publishFlowKey(under.graph, { phoneNumberId: '20', publicKey, accessToken })
const reset = () => {
  under.fake.model.addPhoneNumber(wabaId, '20')
  under.fake.model.keyShape = 'object'
}

it.each(['object', 'list'] as const)(
  'uploads the key, then asks which one Meta holds; the answer as %s',
  async (shape) => {
    reset()
    under.fake.model.keyShape = shape
    expect(await publish()).toEqual({ ok: true, value: 'VALID' })
    expect(under.fake.calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /20/whatsapp_business_encryption',
      'GET /20/whatsapp_business_encryption',
    ])
    expect(under.fake.model.phoneNumbers.get('20')?.publicKey).toBe(publicKey)
  },
)

it('MISMATCH where Meta says so', async () => {
  reset()
  Object.assign(under.fake.model.phoneNumbers.get('20') ?? {}, { keyStatus: 'MISMATCH' })
  expect(await publish()).toEqual({ ok: true, value: 'MISMATCH' })
})

it('MISMATCH where Meta holds another key, or a word that is not known', async () => {
  reset()
  for (const other of [{ business_public_key: 'other' }, { business_public_key_signature_status: 'PENDING' }]) {
    under.fake.next(
      `GET ${route}`,
      answerChanged((standard) => ({ ...standard, ...other })),
    )
    expect(await publish()).toEqual({ ok: true, value: 'MISMATCH' })
  }
})

it('the key is the same whatever became of its line ends; where Meta does not show it, its word counts', async () => {
  reset()
  const shown = [publicKey.replaceAll('\n', '\r\n'), publicKey.replaceAll('\n', ''), undefined]
  for (const business_public_key of shown) {
    under.fake.next(
      `GET ${route}`,
      answerChanged((standard) => ({ ...standard, business_public_key })),
    )
    expect(await publish()).toEqual({ ok: true, value: 'VALID' })
  }
})

it('ends where the upload is refused', async () => {
  reset()
  under.fake.next(`POST ${route}`, refuse(190, { status: 401 }), answerWith({ success: false }))
  expect(await publish()).toMatchObject({ ok: false, problem: { metaCode: 190 } })
  expect(await publish()).toMatchObject({ ok: false, problem: { kind: 'unreadable' } })
  expect(under.fake.callsOf(`GET ${route}`)).toEqual([])
})

it.each([[{}], [{ data: [] }], [{ data: [null] }], [{ data: [{ business_public_key: publicKey }] }]])(
  'an answer of %j is none',
  async (answer) => {
    reset()
    under.fake.next(`GET ${route}`, answerWith(answer))
    expect(await publish()).toMatchObject({ ok: false, problem: { kind: 'unreadable' } })
  },
)
