import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const folder = new URL('../../examples/personalised-offer/', import.meta.url)
const webhookSecret = `whsec_${Buffer.from('an invented secret of the tests').toString('base64')}`

type Json = Record<string, unknown>
type Reply = { screen: string; data: Json }

let tenant: ChildProcess
let url: string

beforeAll(async () => {
  tenant = spawn(process.execPath, [fileURLToPath(new URL('server.ts', folder))], {
    env: { PORT: '0', WEBHOOK_SECRET: webhookSecret },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (tenant.stdout === null) throw new Error('no stdout')
  const [line] = (await once(createInterface(tenant.stdout), 'line')) as [string]
  url = line.replace('listening on ', '')
})

afterAll(async () => {
  tenant.kill()
  if (tenant.exitCode === null && tenant.signalCode === null) await once(tenant, 'exit')
})

/** An envelope as contract §4 has it, as far as the tenant reads it. */
function envelope(flowToken: string | null, action: string, screen: string | null, payload: Json = {}): string {
  return JSON.stringify({
    id: randomUUID(),
    event: 'whatsapp.flows.exchanges',
    timestamp: new Date().toISOString(),
    source: 'whatsapp.flows',
    resourceType: 'flow_response',
    resourceId: flowToken,
    changes: null,
    data: {
      client: null,
      conversation: null,
      flow: { id: 'flow_1', wabaId: '100000000000001' },
      flowResponse: flowToken === null ? null : { flowToken, status: 'IN_PROGRESS' },
      flowExchange: { action, screen, version: '3.0', payload },
    },
  })
}

function sign(body: string, unixSeconds = Math.floor(Date.now() / 1000)): Record<string, string> {
  const timed = createHmac('sha256', Buffer.from(webhookSecret.slice('whsec_'.length), 'base64'))
  return {
    'X-Webhook-Signature': `sha256=${createHmac('sha256', webhookSecret).update(body).digest('hex')}`,
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(unixSeconds),
    'webhook-signature': `v1,bm90IHRoaXMgb25l v1,${timed.update(`msg_1.${unixSeconds}.${body}`).digest('base64')}`,
  }
}

function post(body: string, headers: Record<string, string>): Promise<Response> {
  return fetch(url, { method: 'POST', body, headers })
}

async function ask(flowToken: string | null, action: string, screen: string | null, payload?: Json): Promise<Reply> {
  const body = envelope(flowToken, action, screen, payload)
  const response = await post(body, sign(body))
  expect(response.status).toBe(200)
  return (await response.json()) as Reply
}

type Schema = { type: string; items?: Schema; properties?: Record<string, Schema>; __example__?: unknown }
const flow = JSON.parse(readFileSync(new URL('flow.json', folder), 'utf8')) as {
  routing_model: Record<string, string[]>
  screens: { id: string; terminal?: boolean; data: Record<string, Schema> }[]
}

/** What is wrong with screen data by its declared schema, as a phone would find. */
function misfits(value: unknown, schema: Schema, path: string): string[] {
  if (schema.type === 'array') {
    if (!Array.isArray(value)) return [`${path} is no array`]
    return value.flatMap((item, index) => misfits(item, schema.items ?? { type: 'object' }, `${path}.${index}`))
  }
  if (typeof value !== schema.type || value === null) return [`${path} is no ${schema.type}`]
  const members = Object.entries(schema.properties ?? {})
  return members.flatMap(([name, member]) => misfits((value as Json)[name], member, `${path}.${name}`))
}

function screenMisfits({ screen, data }: Reply): string[] {
  const properties = flow.screens.find(({ id }) => id === screen)?.data
  return properties === undefined ? [`${screen} is no screen`] : misfits(data, { type: 'object', properties }, screen)
}

const details = { selected_device: '2_Lumen_One', name: 'Test Customer', email: 'customer@example.com' }

describe('the personalised-offer tenant', () => {
  test('answers every screen with data that fits its schema, up to SUCCESS', async () => {
    const walk = [
      await ask('token-1', 'init', null),
      await ask('token-1', 'data_exchange', 'PRODUCT_SELECTOR', { product_selection: '2_Cameras' }),
      await ask('token-1', 'data_exchange', 'OPTIONS', { selected_product: 'camera', brand: '0_Vela' }),
      await ask('token-1', 'data_exchange', 'OFFER', { selected_product: 'camera', device: '2_Lumen_One' }),
      await ask('token-1', 'data_exchange', 'PRODUCT_DETAIL', details),
    ]
    expect(walk.map(({ screen }) => screen)).toEqual(flow.screens.map(({ id }) => id))
    expect(walk.flatMap(screenMisfits)).toEqual([])
    expect(walk[1]?.data).toMatchObject({
      selected_product: 'camera',
      phone_use_case: false,
      cta_label: 'View cameras',
    })
    expect(walk[2]?.data.offer_label).toBe('Here are 4 shortlisted cameras')
    expect(walk[4]?.data).toEqual({ ...details, product_name: 'Lumen One' })
    const last = await ask('token-1', 'data_exchange', 'SUMMARY', details)
    const params = { flow_token: 'token-1', ...details, product_name: 'Lumen One' }
    expect(last).toEqual({ screen: 'SUCCESS', data: { extension_message_response: { params } } })
  })

  test('BACK shows the screen before the one that is left, as this flow token saw it', async () => {
    await ask('token-2', 'init', null)
    const options = await ask('token-2', 'data_exchange', 'PRODUCT_SELECTOR', { product_selection: '1_eBook_readers' })
    await ask('token-2', 'data_exchange', 'OPTIONS', { selected_product: 'reader' })
    expect(await ask('token-2', 'back', 'OFFER')).toEqual(options)
    expect((await ask('token-2', 'back', 'OPTIONS')).screen).toBe('PRODUCT_SELECTOR')
    expect((await ask('token-2', 'back', 'PRODUCT_SELECTOR')).screen).toBe('PRODUCT_SELECTOR')
  })

  test.each(['unused', 'flows-builder-12345678'])(
    'what one person saw under %s is not shown to another',
    async (token) => {
      await ask(token, 'data_exchange', 'PRODUCT_DETAIL', { ...details, name: 'Another Customer' })
      const seen = await ask(token, 'data_exchange', 'SUMMARY', {})
      expect(JSON.stringify(seen)).not.toContain('Another Customer')
    },
  )

  test('a payload that does not fit keeps the screen and its data, with an error message', async () => {
    const start = await ask('token-3', 'init', null)
    const again = await ask('token-3', 'data_exchange', 'PRODUCT_SELECTOR', { product_selection: 'constructor' })
    expect(again).toEqual({ screen: start.screen, data: { ...start.data, error_message: expect.any(String) } })
    await ask('token-3', 'data_exchange', 'OFFER', { device: '1_Vela_5_Pro' })
    const nameless = await ask('token-3', 'data_exchange', 'PRODUCT_DETAIL', { selected_device: '1_Vela_5_Pro' })
    expect(nameless).toMatchObject({
      screen: 'PRODUCT_DETAIL',
      data: { product_name: 'Vela 5 Pro', error_message: expect.any(String) },
    })
    expect(screenMisfits(nameless)).toEqual([])
  })

  test('without a flow token it still answers', async () => {
    expect((await ask(null, 'init', null)).screen).toBe('PRODUCT_SELECTOR')
  })

  test('what is not signed, wrongly signed, changed, old or re-dated is answered 401', async () => {
    const body = envelope('token-4', 'init', null)
    const genuine = sign(body)
    const old = sign(body, Math.floor(Date.now() / 1000) - 301)
    const refused: [string, Record<string, string>][] = [
      [body, {}],
      [`${body} `, genuine],
      [body, { ...genuine, 'X-Webhook-Signature': `sha256=${'0'.repeat(64)}` }],
      [body, { ...genuine, 'X-Webhook-Signature': 'sha256=' }],
      [body, { ...genuine, 'webhook-signature': '' }],
      [body, { ...genuine, 'webhook-timestamp': '' }],
      [body, old],
      [body, { ...old, 'webhook-timestamp': String(genuine['webhook-timestamp']) }],
    ]
    for (const [sent, headers] of refused) expect((await post(sent, headers)).status).toBe(401)
    expect((await post(body, genuine)).status).toBe(200)
  })

  test('events that await no answer get a 204, chunked bodies without a length a 413', async () => {
    const notice = JSON.stringify({ event: 'whatsapp.flows.completed', data: { flowResponse: null } })
    expect((await post(notice, sign(notice))).status).toBe(204)
    const stream = new Blob([notice]).stream()
    expect((await fetch(url, { method: 'POST', body: stream, duplex: 'half', headers: sign(notice) })).status).toBe(413)
  })
})

test('flow.json: the routing model is a way through all screens, each example fits, one screen ends it', () => {
  const ids = flow.screens.map(({ id }) => id)
  expect(flow.routing_model).toEqual(Object.fromEntries(ids.map((id, index) => [id, ids.slice(index + 1, index + 2)])))
  const examples = flow.screens.map(({ id, data }) => ({
    screen: id,
    data: Object.fromEntries(Object.entries(data).map(([name, member]) => [name, member.__example__])),
  }))
  expect(examples.flatMap(screenMisfits)).toEqual([])
  expect(flow.screens.filter(({ terminal }) => terminal).map(({ id }) => id)).toEqual(['SUMMARY'])
})

test('flow.json: every data binding names a declared member, every form binding a component of its screen', () => {
  for (const screen of flow.screens) {
    const text = JSON.stringify(screen)
    const bound = [...text.matchAll(/\$\{(data|form)\.([a-z0-9_]+)\}/g)].map(([, kind, name]) => [kind, name])
    const names = [...text.matchAll(/"name":"([a-z0-9_]+)"/g)].map(([, name]) => name)
    expect(bound.length).toBeGreaterThan(0)
    for (const [kind, name] of bound) expect(kind === 'data' ? Object.keys(screen.data) : names).toContain(name)
  }
})
