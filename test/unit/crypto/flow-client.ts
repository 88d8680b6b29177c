/** The phone's side, on WebCrypto, whose parameters are all spelled out: an error in src/crypto cannot hide in both. */
import { webcrypto } from 'node:crypto'

const { subtle } = webcrypto
const oaep = { name: 'RSA-OAEP', hash: 'SHA-256' }

export interface ClientRequest {
  readonly encryptedAesKey: Buffer
  readonly initialVector: Buffer
  readonly encryptedFlowData: Buffer
  /** Opens an answer body; throws when it does not fit. */
  readonly open: (answerBody: string) => Promise<Buffer>
}

export interface RequestOptions {
  readonly ivBytes?: number
  readonly hash?: 'SHA-256' | 'SHA-1'
  readonly aesKeyBytes?: 16 | 32
}

export async function sealRequest(
  publicKeyPem: string,
  plaintext: Uint8Array,
  { ivBytes = 16, hash = 'SHA-256', aesKeyBytes = 16 }: RequestOptions = {},
): Promise<ClientRequest> {
  const rawKey = webcrypto.getRandomValues(Buffer.alloc(aesKeyBytes))
  const initialVector = webcrypto.getRandomValues(Buffer.alloc(ivBytes))
  const aesKey = await subtle.importKey('raw', rawKey, 'AES-GCM', false, ['encrypt', 'decrypt'])
  const flowKey = await subtle.importKey('spki', derOf(publicKeyPem), { ...oaep, hash }, false, ['encrypt'])
  return {
    encryptedAesKey: Buffer.from(await subtle.encrypt(oaep, flowKey, rawKey)),
    initialVector,
    encryptedFlowData: Buffer.from(await subtle.encrypt(gcm(initialVector), aesKey, Buffer.from(plaintext))),
    open: async (answerBody) => {
      const flipped = Buffer.from(initialVector.map((byte) => 255 - byte))
      return Buffer.from(await subtle.decrypt(gcm(flipped), aesKey, Buffer.from(answerBody, 'base64')))
    },
  }
}

function gcm(iv: Buffer<ArrayBuffer>) {
  return { name: 'AES-GCM', iv, tagLength: 128 }
}

function derOf(pem: string) {
  return Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')
}

export function bodyOf(request: ClientRequest): Buffer {
  return Buffer.from(
    JSON.stringify({
      encrypted_flow_data: request.encryptedFlowData.toString('base64'),
      encrypted_aes_key: request.encryptedAesKey.toString('base64'),
      initial_vector: request.initialVector.toString('base64'),
    }),
  )
}
