import { beforeAll, describe, expect, it } from 'vitest'
import { type InteractiveFlowMessage, sendFlowMessage, type TemplateFlowMessage } from '../../../src/graph/messages.ts'
import { answerWith, refuse } from '../../support/graph.ts'
import { accessToken, graphUnderTest, wabaId } from './graph-under-test.ts'

const under = graphUnderTest()
const sending = { phoneNumberId: '20', to: '+5215555550101', accessToken }
const route = 'POST /:id/messages'
beforeAll(() => under.fake.model.addPhoneNumber(wabaId, '20'))

const interactive: InteractiveFlowMessage = {
  type: 'interactive',
  header: null,
  body: 'An offer',
  footer: null,
  metaFlowId: '30',
  flowToken: 'a-token',
  cta: 'Open',
  mode: 'published',
  action: 'data_exchange',
  screen: null,
  data: null,
}
const template: TemplateFlowMessage = {
  type: 'template',
  name: 'offer',
  language: 'es_MX',
  components: [],
  buttonIndex: 0,
  flowToken: 'a-token',
  flowActionData: null,
}
const bodies = () => under.fake.callsOf(route).map(({ body }) => body)

describe('an interactive message', () => {
  it('has what Meta asks for and no more', async () => {
    const result = await sendFlowMessage(under.graph, sending, interactive)
    const value = { messageId: expect.stringMatching(/^wamid\./), metaPhoneNumber: '+5215555550101' }
    expect(result).toEqual({ ok: true, value })
    expect(bodies()).toEqual([
      {
        messaging_product: 'whatsapp',
        recipient_type: 'individual',
        to: '+5215555550101',
        type: 'interactive',
        interactive: {
          type: 'flow',
          body: { text: 'An offer' },
          action: {
            name: 'flow',
            parameters: {
              flow_message_version: '3',
              flow_id: '30',
              flow_token: 'a-token',
              flow_cta: 'Open',
              mode: 'published',
              flow_action: 'data_exchange',
            },
          },
        },
      },
    ])
  })

  it('has header and footer, screen and data where they are given', async () => {
    const more = {
      header: 'H',
      footer: 'F',
      action: 'navigate',
      screen: 'OFFER',
      data: { n: 1 },
      mode: 'draft',
    } as const
    expect((await sendFlowMessage(under.graph, sending, { ...interactive, ...more })).ok).toBe(true)
    const [{ interactive: sent }] = bodies()
    expect(sent).toMatchObject({ header: { type: 'text', text: 'H' }, footer: { text: 'F' } })
    expect(sent.action.parameters).toMatchObject({
      flow_action: 'navigate',
      flow_action_payload: { screen: 'OFFER', data: { n: 1 } },
      mode: 'draft',
    })
  })

  it('that navigates without naming anything has no payload', async () => {
    await sendFlowMessage(under.graph, sending, { ...interactive, action: 'navigate' })
    expect(bodies()[0].interactive.action.parameters).not.toHaveProperty('flow_action_payload')
  })
})

describe('data that Meta refuses as an object (protocol.md 4.4)', () => {
  const withData = { ...interactive, action: 'navigate', screen: 'A', data: { n: 1, text: 'ñ' } } as const
  const dataSent = () => bodies().map((body) => body.interactive.action.parameters.flow_action_payload?.data)

  it('goes once more as a string', async () => {
    under.fake.next(route, refuse(131009))
    expect((await sendFlowMessage(under.graph, sending, withData)).ok).toBe(true)
    expect(dataSent()).toEqual([{ n: 1, text: 'ñ' }, '{"n":1,"text":"ñ"}'])
  })

  it('goes no third time', async () => {
    under.fake.next(route, refuse(131009), refuse(131009))
    expect(await sendFlowMessage(under.graph, sending, withData)).toMatchObject({ problem: { metaCode: 131009 } })
  })

  it.each([131008, 131047, 100, 130429])('is not what %i is about', async (code) => {
    under.fake.next(route, refuse(code))
    expect(await sendFlowMessage(under.graph, sending, withData)).toMatchObject({ problem: { metaCode: code } })
    expect(bodies()).toHaveLength(1)
  })

  it.each([
    ['a message without data', interactive],
    ['a template', template],
  ])('is not the fault of %s', async (_name, message) => {
    under.fake.next(route, refuse(131009))
    expect(await sendFlowMessage(under.graph, sending, message)).toMatchObject({ ok: false })
    expect(bodies()).toHaveLength(1)
  })
})

describe('a template message', () => {
  it('has its button even where that says nothing', async () => {
    expect((await sendFlowMessage(under.graph, sending, template)).ok).toBe(true)
    const action = { flow_token: 'a-token' }
    const button = { type: 'button', sub_type: 'flow', index: '0', parameters: [{ type: 'action', action }] }
    expect(bodies()[0]).toEqual({
      messaging_product: 'whatsapp',
      recipient_type: 'individual',
      to: '+5215555550101',
      type: 'template',
      template: { name: 'offer', language: { code: 'es_MX' }, components: [button] },
    })
  })

  it('has other components before it, and data in it', async () => {
    const body = { type: 'body', parameters: [{ type: 'text', text: 'Ana' }] }
    const more = { components: [body], buttonIndex: 1, flowActionData: { n: 1 } }
    await sendFlowMessage(under.graph, sending, { ...template, ...more })
    const { components } = bodies()[0].template
    expect(components).toMatchObject([body, { index: '1', parameters: [{ action: { flow_action_data: { n: 1 } } }] }])
  })
})

it.each([[{}], [{ messages: [] }], [{ messages: [{}] }], [{ messages: [{ id: 5 }] }]])(
  'an answer of %j does not tell whether the message went',
  async (answer) => {
    under.fake.next(route, answerWith(answer))
    expect(await sendFlowMessage(under.graph, sending, interactive)).toMatchObject({
      problem: { kind: 'unreadable', mayHaveHappened: true },
    })
  },
)
