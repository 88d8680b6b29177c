// A tenant's backend: takes Relevo's signed envelopes and answers every screen of flow.json.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

type Fields = Record<string, unknown>
type Choice = { id: string; title: string }
type Reply = { screen: string; data: Fields }
type Exchange = { action: 'init' | 'data_exchange' | 'back'; screen: string | null; payload: Fields }

const { PORT = '0', WEBHOOK_SECRET: webhookSecret = '', DELAY_MS = '0' } = process.env
if (webhookSecret === '') throw new Error('WEBHOOK_SECRET is not set')

/** Two signatures: one over the body; one over id, time and body, without which an old request could pass as a new one. */
function isGenuine(headers: IncomingHttpHeaders, body: Buffer): boolean {
  const given = (name: string) => String(headers[name] ?? '')
  const signature = createHmac('sha256', webhookSecret).update(body).digest('hex')
  const key = webhookSecret.startsWith('whsec_') ? Buffer.from(webhookSecret.slice(6), 'base64') : webhookSecret
  const idAndTime = `${given('webhook-id')}.${given('webhook-timestamp')}.`
  const timedSignature = `v1,${createHmac('sha256', key).update(idAndTime).update(body).digest('base64')}`
  const ageSeconds = Math.abs(Date.now() / 1000 - Number.parseInt(given('webhook-timestamp'), 10))
  if (!isSame(given('x-webhook-signature'), `sha256=${signature}`) || !(ageSeconds <= 300)) return false
  const candidates = given('webhook-signature').split(' ') // several while the secret is being changed
  return candidates.some((candidate) => isSame(candidate, timedSignature))
}

function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}

// Each screen's data starts out as flow.json's examples, so it has the members and types that phones check it against.
const flow = JSON.parse(readFileSync(new URL('flow.json', import.meta.url), 'utf8'))
const examples = new Map<string, Fields>()
for (const { id, data } of flow.screens) {
  examples.set(id, Object.fromEntries(Object.keys(data).map((name) => [name, data[name].__example__])))
}
const show = (screen: string, fields: Fields = {}): Reply => ({ screen, data: { ...examples.get(screen), ...fields } })
const products = examples.get('PRODUCT_SELECTOR')?.products as Choice[]
const devices = examples.get('OFFER')?.shortlisted_devices as Choice[]
const nameOf = ({ title }: Choice) => title.toLowerCase().split(' ').at(-1)?.slice(0, -1) ?? title

/** The screen after the submitted one; undefined where the payload does not fit it. */
function advance(screen: string | null, payload: Fields, flowToken: string): Reply | undefined {
  const product = products.find(({ id }) => id === payload.product_selection)
  const productName = products.map(nameOf).find((one) => one === payload.selected_product)
  const device = devices.find(({ id }) => id === (payload.device ?? payload.selected_device))
  if (screen === 'PRODUCT_SELECTOR' && product) {
    const chosen = nameOf(product)
    const labels = { cta_label: `View ${chosen}s`, screen_heading: `Let's find the perfect ${chosen} offer for you` }
    return show('OPTIONS', { selected_product: chosen, ...labels, phone_use_case: chosen === 'phone' })
  }
  const offer = { selected_product: productName, offer_label: `Here are ${devices.length} shortlisted ${productName}s` }
  if (screen === 'OPTIONS' && productName) return show('OFFER', offer)
  if (!device) return undefined
  if (screen === 'OFFER') return show('PRODUCT_DETAIL', { selected_device: device.id, product_name: device.title })
  const { name, email } = payload
  if (typeof name !== 'string' || typeof email !== 'string' || !email.includes('@')) return undefined
  const order = { selected_device: device.id, product_name: device.title, name, email }
  if (screen === 'PRODUCT_DETAIL') return show('SUMMARY', order)
  const params = { flow_token: flowToken, ...order }
  return screen === 'SUMMARY' ? { screen: 'SUCCESS', data: { extension_message_response: { params } } } : undefined
}

// What each flow token was shown, because BACK carries no data. Not for `unused`, which strangers share. Bounded.
const shown = new Map<string, Reply>()
const lastShown = (flowToken: string, screen: string) => shown.get(`${flowToken} ${screen}`) ?? show(screen)

function answer({ action, screen, payload }: Exchange, flowToken: string): Reply {
  // BACK names the screen that the person leaves; the one before it is shown again.
  const before = [...examples.keys()].findLast((_, at, ids) => ids[at + 1] === screen) ?? 'PRODUCT_SELECTOR'
  if (action === 'back') return lastShown(flowToken, before)
  const reply = action === 'init' ? show('PRODUCT_SELECTOR') : advance(screen, payload, flowToken)
  if (!reply) {
    const current = lastShown(flowToken, examples.has(screen ?? '') ? String(screen) : 'PRODUCT_SELECTOR')
    return { ...current, data: { ...current.data, error_message: 'Please check what you entered.' } }
  }
  if (!/^(unused$|flows-builder-)/.test(flowToken)) shown.set(`${flowToken} ${reply.screen}`, reply)
  if (shown.size > 10_000) shown.delete(String(shown.keys().next().value))
  return reply
}

const server = createServer(async (request, response) => {
  if (!(Number(request.headers['content-length']) <= 2 ** 21)) return response.writeHead(413).end()
  const body = Buffer.concat(await request.toArray().catch(() => []))
  if (!isGenuine(request.headers, body)) return response.writeHead(401).end()
  const { flowExchange, flowResponse } = JSON.parse(body.toString()).data
  if (!flowExchange) return response.writeHead(204).end() // an event that awaits no answer
  await sleep(Number(DELAY_MS))
  const reply = answer(flowExchange, flowResponse?.flowToken ?? 'unused')
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(reply))
})

server.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
