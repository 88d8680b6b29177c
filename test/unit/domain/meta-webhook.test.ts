import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFlowNotice, readMessages, readMetaEntries } from '../../../src/domain/meta-webhook.ts'

const { updates } = JSON.parse(readFileSync(new URL('../../vectors/nfm-reply-pywa.json', import.meta.url), 'utf8'))

/** What a reader of everything makes of a body. */
function readAll(text: string) {
  const entries = readMetaEntries(text) ?? []
  return entries.flatMap(({ changes }) =>
    changes.map(({ field, value }) => (field === 'messages' ? readMessages(value) : readFlowNotice(value))),
  )
}

describe('readMetaEntries', () => {
  it('reads Meta’s own', () => {
    const [entry, ...more] = readMetaEntries(JSON.stringify(updates.completion)) ?? []
    expect(more).toEqual([])
    expect(entry).toMatchObject({ wabaId: '1234567890987654321', time: null, changes: [{ field: 'messages' }] })
  })

  it.each(['', '{', 'null', '[]', '7', '{}', '{"entry":null}', `{"entry":[${'['.repeat(201)}${']'.repeat(201)}]}`])(
    'is null for %s',
    (text) => {
      expect(readMetaEntries(text)).toBeNull()
    },
  )

  const things = (count: number) => Array.from({ length: count }, () => ({}))
  const change = (value: object) => ({ field: 'messages', value })
  it.each([
    ['entries', things],
    ['changes', (count: number) => [{ id: '1', changes: things(count - 1) }]],
    ['messages', (count: number) => [{ id: '1', changes: [change({ messages: things(count - 2) })] }]],
    ['contacts', (count: number) => [{ id: '1', changes: [change({ contacts: things(count - 2) })] }]],
    ['all', (count: number) => [{}, { changes: [{}, change({ messages: [{}], contacts: things(count - 5) })] }]],
  ])('takes 10,000 things in a body and no more: %s', (_kind, entry) => {
    expect(readMetaEntries(JSON.stringify({ entry: entry(10_000) }))).not.toBeNull()
    expect(readMetaEntries(JSON.stringify({ entry: entry(10_001) }))).toBeNull()
  })

  it('keeps whole entries beside broken ones', () => {
    const whole = { id: '1', time: 1_790_000_000, changes: [{ field: 'flows', value: {} }, null, { field: 'x' }] }
    const entries = readMetaEntries(JSON.stringify({ entry: [null, 'x', { id: 5, changes: 'x' }, whole] }))
    expect(entries).toEqual([
      { wabaId: '', time: null, changes: [] },
      { wabaId: '', time: null, changes: [] },
      { wabaId: '', time: null, changes: [] },
      { wabaId: '1', time: new Date(1_790_000_000_000), changes: [{ field: 'flows', value: {} }] },
    ])
  })

  it('any JSON is read without throwing', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (json) => {
        readAll(json)
        readAll(`{"entry":${json}}`)
      }),
    )
  })

  // Real bodies with any value in any place: the deeper readers are reached.
  it('a real body spoilt anywhere is read without throwing', () => {
    fc.assert(
      fc.property(fc.nat(), fc.jsonValue(), (place, value) => {
        let left = place % 40
        const spoil = (_key: string, old: unknown) => (left-- === 0 ? value : old)
        for (const message of readAll(JSON.stringify(updates.completion, spoil)).flat()) {
          if (message === null || !('phoneNumber' in message)) continue
          expect(message.phoneNumber ?? '+00000000').toMatch(/^\+[0-9]{8,15}$/)
          expect(Number.isNaN(message.sentAt?.getTime() ?? 0)).toBe(false)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('readMessages', () => {
  const value = updates.completion.entry[0].changes[0].value

  it('reads Meta’s own nfm_reply, with its token and without', () => {
    expect(readMessages(value)).toMatchObject([
      {
        id: 'wamid.wegrchytvwcggt==',
        phoneNumberId: '1122334455667',
        phoneNumber: '+972987654321',
        name: 'Test Name',
        sentAt: new Date(1_702_502_473_000),
        completion: { messageId: 'wamid.gvwegfretge==', flowToken: 'AQAAAAACS5FpgQ_cAAAAAD0QI3s.' },
      },
    ])
    const [without] = readMessages(updates.without_flow_token.entry[0].changes[0].value)
    expect(without?.completion).toMatchObject({ flowToken: null, response: { delivery_rating: '4' } })
  })

  it('finds the contact of each message among several, by phone number or user id', () => {
    const contacts = [
      { wa_id: '5215550001111', user_id: 'US.1', profile: { name: 'One' } },
      { wa_id: '5215550002222', user_id: 'US.2', profile: { name: 'Two' } },
    ]
    const messages = [{ from: '5215550002222' }, { from_user_id: 'US.1' }, { from: '5215550003333' }, {}]
    expect(readMessages({ contacts, messages }).map(({ phoneNumber, name }) => [phoneNumber, name])).toEqual([
      ['+5215550002222', 'Two'],
      ['+5215550001111', 'One'],
      ['+5215550003333', null],
      [null, null],
    ])
  })

  it('gives nobody the name of another, where two have written and one contact is told', () => {
    const contacts = [{ wa_id: '5215550001111', profile: { name: 'One' } }]
    const namesOf = (...from: string[]) =>
      readMessages({ contacts, messages: from.map((one) => ({ from: one })) }).map(({ name }) => name)
    expect(namesOf('5215550001111', '5215550002222', '5215550001111')).toEqual(['One', null, 'One'])
    expect(namesOf('5215550002222', '5215550002222')).toEqual(['One', 'One'])
  })

  it('takes a response_json that is an object, as one of Meta’s pages shows it', () => {
    const interactive = { type: 'nfm_reply', nfm_reply: { name: 'flow', response_json: { flow_token: 't', a: 1 } } }
    const [message] = readMessages({ messages: [{ interactive }] })
    expect(message?.completion).toEqual({ messageId: null, flowToken: 't', response: { flow_token: 't', a: 1 } })
  })

  /** How many items the `x` of each form has; null where its text was not read. */
  const itemsOfForms = (...texts: string[]) => {
    const reply = (json: string) => ({ type: 'nfm_reply', nfm_reply: { name: 'flow', response_json: json } })
    const messages = readMessages({ messages: texts.map((json) => ({ interactive: reply(json) })) })
    return messages.map(({ completion }) => {
      const { x } = completion?.response ?? {}
      return Array.isArray(x) ? x.length : null
    })
  }
  /** Of so many values with itself, about half of them the items of `x`. */
  const formOf = (values: number) => `{"x":[${'[],'.repeat(values / 2 - 1)}0]}`

  it('reads no response_json of more than 50,000 values', () => {
    expect(itemsOfForms(formOf(50_000))).toEqual([25_000])
    expect(itemsOfForms(formOf(50_002), formOf(1000))).toEqual([null, 500])
  })

  it('reads no more than 200,000 values of all forms together, whatever they hold', () => {
    const list = formOf(49_000).slice('{"x":'.length, -1)
    const cut = formOf(49_500).slice(0, -1)
    const texts = [50_000, 50_000, 2000, 900].map(formOf)
    expect(itemsOfForms(list, cut, ...texts)).toEqual([null, null, 25_000, 25_000, null, 450])
  })

  it.each([
    ['52155500011', '+52155500011'],
    ['5215512345678', '+5215512345678'],
    ['1234567', null],
    ['1234567890123456', null],
    ['+5215512345678', null],
    [5215512345678, null],
    ['US.13491208655302741918', null],
  ])('from %s: %s', (from, phoneNumber) => {
    expect(readMessages({ messages: [{ from }] })[0]?.phoneNumber).toBe(phoneNumber)
  })
})

describe('readFlowNotice', () => {
  it.each([
    [{}, null],
    [{ event: 'FLOW_STATUS_CHANGE', new_status: 'DRAFT' }, null],
    [{ event: 'FLOW_STATUS_CHANGE', flow_id: '1' }, null],
    [{ event: 'FLOW_VERSION_FREEZE_WARNING', flow_id: '1' }, null],
    [
      { event: 'FLOW_STATUS_CHANGE', flow_id: 17, new_status: 'DRAFT' },
      { kind: 'status', metaFlowId: '17', from: null, to: 'DRAFT' },
    ],
  ])('%j', (value, notice) => {
    expect(readFlowNotice(value)).toEqual(notice)
  })

  it('an alert is the notice as it came, in its order', () => {
    const value = { message: 'm', event: 'ENDPOINT_LATENCY', flow_id: '1', p90_latency: 1100.5, errors: [{ a: 1 }] }
    const notice = readFlowNotice(value)
    expect(JSON.stringify(notice?.kind === 'alert' && notice.alert)).toBe(JSON.stringify(value))
  })
})
