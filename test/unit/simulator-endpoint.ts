import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  generateKeyPairSync,
  privateDecrypt,
} from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Json = Record<string, unknown>
export type Opened = { message: Json; seal: (text: string) => string }
export type Behaviour = (opened: Opened, response: ServerResponse) => void

export const appSecret = 'an-invented-app-secret'
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const publicKeyPem = String(pair.publicKey.export({ type: 'spki', format: 'pem' }))

export const plainText = { 'Content-Type': 'text/plain; charset=utf-8' }
export const fallback = { data: { acknowledged: true } }

export const reply =
  (object: unknown): Behaviour =>
  (opened, response) =>
    response.writeHead(200, plainText).end(opened.seal(JSON.stringify(object)))

/** Opens a request the way protocol.md 1.2 to 1.6 tells an endpoint to, or says with which status it refuses. */
function openRequest(body: Buffer, signature: string): Opened | number {
  if (signature !== `sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`) return 432
  const outer = JSON.parse(body.toString('utf8')) as Record<string, string>
  const bytes = (name: string) => Buffer.from(outer[name] ?? '', 'base64')
  const padding = constants.RSA_PKCS1_OAEP_PADDING
  const aesKey = privateDecrypt({ key: pair.privateKey, padding, oaepHash: 'sha256' }, bytes('encrypted_aes_key'))
  const [iv, sealed] = [bytes('initial_vector'), bytes('encrypted_flow_data')]
  const decipher = createDecipheriv('aes-128-gcm', aesKey, iv).setAuthTag(sealed.subarray(-16))
  const text = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString('utf8')
  const inverted = iv.map((byte) => byte ^ 0xff)
  const seal = (answer: string) => {
    const cipher = createCipheriv('aes-128-gcm', aesKey, inverted)
    return Buffer.concat([cipher.update(answer), cipher.final(), cipher.getAuthTag()]).toString('base64')
  }
  return { message: JSON.parse(text) as Json, seal }
}

/** A real endpoint on a free port that opens every request and then does what the test says. */
export async function startEndpoint() {
  const endpoint = { uri: '', answer: reply({ screen: 'A' }), received: [] as Json[], close }
  const server = createServer(async (request, response) => {
    const opened = openRequest(Buffer.concat(await request.toArray()), String(request.headers['x-hub-signature-256']))
    if (typeof opened === 'number') return response.writeHead(opened).end()
    endpoint.received.push(opened.message)
    endpoint.answer(opened, response)
  })
  function close(): void {
    server.closeAllConnections()
    server.close()
  }
  await once(server.listen(0, '127.0.0.1'), 'listening')
  endpoint.uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/whatsapp/flows/1/data`
  return endpoint
}
