import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  timingSafeEqual,
} from 'node:crypto'
import type { AddressInfo } from 'node:net'
import fastify from 'fastify'

/**
 * An endpoint as the public samples are built: the framework's JSON parsing before the signature is checked, the encrypted PEM parsed at each
 * request, one static screen. No tenant, no database, no log. What a business would run in place of Relevo.
 */
const passphrase = 'passphrase'
const { privateKey: pem } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  // As Meta's key generator makes it.
  privateKeyEncoding: { type: 'pkcs1', format: 'pem', cipher: 'des-ede3-cbc', passphrase },
})
const publicKeyPem = createPublicKey(createPrivateKey({ key: pem, passphrase })).export({ type: 'spki', format: 'pem' })
const appSecret = process.argv[2] ?? ''

const server = fastify()
const raw = new WeakMap<object, string>()
server.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
  raw.set(request, body)
  done(null, JSON.parse(body))
})
server.post('/', async (request, reply) => {
  const signature = Buffer.from(String(request.headers['x-hub-signature-256']).replace('sha256=', ''), 'utf8')
  const digest = createHmac('sha256', appSecret)
    .update(raw.get(request) ?? '')
    .digest('hex')
  if (!timingSafeEqual(Buffer.from(digest, 'utf8'), signature)) return reply.code(432).send()
  const { encrypted_aes_key, encrypted_flow_data, initial_vector } = request.body as Record<string, string>
  const privateKey = createPrivateKey({ key: pem, passphrase })
  const oaep = { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
  const aesKey = privateDecrypt(oaep, Buffer.from(encrypted_aes_key ?? '', 'base64'))
  const sealed = Buffer.from(encrypted_flow_data ?? '', 'base64')
  const iv = Buffer.from(initial_vector ?? '', 'base64')
  const decipher = createDecipheriv('aes-128-gcm', aesKey, iv)
  decipher.setAuthTag(sealed.subarray(-16))
  const opened = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString('utf8')
  JSON.parse(opened)
  const cipher = createCipheriv(
    'aes-128-gcm',
    aesKey,
    iv.map((byte) => ~byte),
  )
  const answer = JSON.stringify({ screen: 'NEXT', data: { greeting: 'hello' } })
  return reply
    .type('text/plain')
    .send(Buffer.concat([cipher.update(answer, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64'))
})
server.get('/cpu', async () => process.cpuUsage())
server.get('/public-key', async () => publicKeyPem)
server.get('/pid', async () => process.pid)
await server.listen({ host: '127.0.0.1', port: 0 })
console.log(`listening on http://127.0.0.1:${(server.server.address() as AddressInfo).port}`)
