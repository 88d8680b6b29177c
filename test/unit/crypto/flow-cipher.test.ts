import { createSecretKey, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { SealedRequest } from '../../../src/crypto/flow-cipher.ts'
import { openRequest, readSealedRequest, sealAnswer } from '../../../src/crypto/flow-cipher.ts'
import { generatePrivateKey, publicKeyPem, readPrivateKey } from '../../../src/crypto/flow-key.ts'
import type { ClientRequest } from './flow-client.ts'
import { bodyOf, sealRequest } from './flow-client.ts'
import { mutate, mutation } from './mutation.ts'
import { flowVector, keylessVector, outerBody } from './vectors.ts'

const vectorKey = readPrivateKey(flowVector.private_key_pem, flowVector.private_key_passphrase)
let flowKey: KeyObject
let otherKey: KeyObject
let publicPem: string
beforeAll(async () => {
  ;[flowKey, otherKey] = await Promise.all([generatePrivateKey(), generatePrivateKey()])
  publicPem = publicKeyPem(flowKey)
})

function read(body: Buffer): SealedRequest {
  const request = readSealedRequest(body)
  if (!request) throw new Error('not a sealed request')
  return request
}

describe('the public vectors', () => {
  it('V1 opens to the exact plaintext, AES key and IV', () => {
    const opened = openRequest(read(outerBody(flowVector.request)), [vectorKey])
    expect(opened?.plaintext.toString('utf8')).toBe(flowVector.expected.plaintext_utf8)
    expect(opened?.aesKey.export().toString('hex')).toBe(flowVector.expected.aes_key_hex)
    expect(opened?.initialVector.toString('hex')).toBe(flowVector.expected.iv_hex)
    expect(opened?.flowKeyIndex).toBe(0)
  })

  it('V1 seals to the exact body', () => {
    const aesKey = createSecretKey(flowVector.expected.aes_key_hex, 'hex')
    const initialVector = Buffer.from(flowVector.expected.iv_hex, 'hex')
    const { plaintext_utf8: answer, expected_body_base64: body } = flowVector.response
    expect(sealAnswer(answer, aesKey, initialVector)).toBe(body)
    expect(sealAnswer(Buffer.from(answer), aesKey, initialVector)).toBe(body)
    expect(initialVector.toString('hex')).toBe(flowVector.expected.iv_hex) // the caller's bytes are left alone
  })

  it('V6, without a key, has the lengths it should and opens with no key of ours', () => {
    const request = read(outerBody(keylessVector.request))
    expect(request.encryptedFlowData).toHaveLength(keylessVector.lengths_bytes.encrypted_flow_data ?? 0)
    expect(request.encryptedAesKey).toHaveLength(keylessVector.lengths_bytes.encrypted_aes_key ?? 0)
    expect(request.initialVector).toHaveLength(keylessVector.lengths_bytes.initial_vector ?? 0)
    expect(openRequest(request, [vectorKey, flowKey])).toBeNull()
  })
})

describe('readSealedRequest', () => {
  const { request } = flowVector
  const withMember = (value: unknown) => Buffer.from(JSON.stringify({ ...request, initial_vector: value }))

  it('reads escaped slashes, white space and members it does not know', () => {
    const escaped = `\n ${JSON.stringify({ ...request, extra: [1] }).replaceAll('/', '\\/')} `
    expect(readSealedRequest(Buffer.from(escaped))).toEqual(readSealedRequest(outerBody(request)))
  })

  it.each([
    ['empty', Buffer.alloc(0)],
    ['not JSON', Buffer.from('hello')],
    ['an array', Buffer.from(JSON.stringify([request]))],
    ['null', Buffer.from('null')],
    ['a string', Buffer.from('"x"')],
    ['after a byte order mark', Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), outerBody(request)])],
    ['not UTF-8', Buffer.from(JSON.stringify({ ...request, extra: 'ñ' }), 'latin1')],
    ['UTF-16', Buffer.from(JSON.stringify(request), 'utf16le')],
    ['members in a prototype', Buffer.from(JSON.stringify({ inner: request }).replace('inner', '__proto__'))],
    ['cut short', outerBody(request).subarray(0, -1)],
  ])('gives null for a body that is %s', (_, body) => {
    expect(readSealedRequest(body)).toBeNull()
  })

  it('takes 10,000 values and no more: the event loop would stand still for a megabyte of brackets', () => {
    // Three commas and a bracket are around the list.
    const withValues = (count: number) => Buffer.from(JSON.stringify({ ...request, extra: Array(count - 4).fill(0) }))
    expect(readSealedRequest(withValues(10_000))).toEqual(readSealedRequest(outerBody(request)))
    expect(readSealedRequest(withValues(10_001))).toBeNull()
  })

  it.each(['encrypted_flow_data', 'encrypted_aes_key', 'initial_vector'])('gives null without %s', (name) => {
    const without = Object.fromEntries(Object.entries(request).filter(([member]) => member !== name))
    expect(readSealedRequest(Buffer.from(JSON.stringify(without)))).toBeNull()
  })

  it.each([
    ['empty', ''],
    ['null', null],
    ['a number', 5],
    ['an array', ['AAAA']],
    ['without padding', 'AAA'],
    ['with too much padding', 'AAAA===='],
    ['padding alone', '===='],
    ['in the URL alphabet', '-_-_'],
    ['with white space', 'AA AA'],
    ['with a line end', 'AAAA\n'],
    ['with unused bits set', 'AAB='],
    ['followed by more', 'AAA=AAAA'],
    ['beyond ASCII', 'AAA\u0141'],
    ['a placeholder from a sample', '<INITIAL VECTOR>'],
  ])('gives null for a member that is %s', (_, value) => {
    expect(readSealedRequest(withMember(value))).toBeNull()
  })

  it('never throws, for any bytes and any JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.json(), (bytes, json) => {
        expect(readSealedRequest(Buffer.from(bytes))).toBeNull()
        expect(readSealedRequest(Buffer.from(json))).toBeNull()
      }),
    )
  })

  it('takes any base64 that an encoder writes, and what it takes encodes back to the same text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.string({ maxLength: 8 }), (bytes, text) => {
        expect(readSealedRequest(withMember(Buffer.from(bytes).toString('base64')))?.initialVector).toEqual(
          Buffer.from(bytes),
        )
        const taken = readSealedRequest(withMember(text))
        if (taken) expect(taken.initialVector.toString('base64')).toBe(text)
      }),
    )
  })
})

describe('openRequest and sealAnswer', () => {
  const unchanged = (request: ClientRequest, part: Partial<SealedRequest>) =>
    openRequest({ ...request, ...part }, [flowKey])

  it('round trip with a client of its own, for any plaintext, answer and IV length', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1 }),
        fc.string({ unit: 'grapheme' }),
        fc.constantFrom(12, 16),
        async (plaintext, answer, ivBytes) => {
          const request = await sealRequest(publicPem, plaintext, { ivBytes })
          const opened = openRequest(read(bodyOf(request)), [flowKey])
          if (!opened) throw new Error('did not open')
          expect(opened.plaintext).toEqual(Buffer.from(plaintext))
          const body = sealAnswer(answer, opened.aesKey, opened.initialVector)
          expect((await request.open(body)).toString('utf8')).toBe(answer)
        },
      ),
    )
  })

  it('round trip at the size limit', async () => {
    const plaintext = Buffer.alloc(700_000, 'ñ')
    const request = await sealRequest(publicPem, plaintext)
    const opened = openRequest(read(bodyOf(request)), [flowKey])
    expect(opened?.plaintext.equals(plaintext)).toBe(true)
  })

  it('tries every key in the order given and says which opened', async () => {
    const request = await sealRequest(publicPem, Buffer.from('{}'))
    expect(openRequest(request, [flowKey, otherKey])?.flowKeyIndex).toBe(0)
    expect(openRequest(request, [otherKey, vectorKey, flowKey])?.flowKeyIndex).toBe(2)
    expect(openRequest(request, [otherKey])).toBeNull()
    expect(openRequest(request, [])).toBeNull()
  })

  it.each([
    ['wrapped with OAEP-SHA-1', { hash: 'SHA-1' }],
    ['an AES-256 key', { aesKeyBytes: 32 }],
    ['an IV of 13 bytes', { ivBytes: 13 }],
    ['an IV of 15 bytes', { ivBytes: 15 }],
    ['an IV of 32 bytes', { ivBytes: 32 }],
  ] as const)('gives null for %s', async (_, options) => {
    expect(openRequest(await sealRequest(publicPem, Buffer.from('{}'), options), [flowKey])).toBeNull()
  })

  it('gives null for data that holds nothing besides the tag', async () => {
    const request = await sealRequest(publicPem, Buffer.alloc(0))
    expect(request.encryptedFlowData).toHaveLength(16)
    expect(openRequest(request, [flowKey])).toBeNull()
  })

  it('gives null for any change of AES key, IV or data', async () => {
    const request = await sealRequest(publicPem, Buffer.from('{"action":"ping"}'))
    fc.assert(
      fc.property(mutation, (change) => {
        expect(unchanged(request, { encryptedAesKey: mutate(request.encryptedAesKey, change) })).toBeNull()
        expect(unchanged(request, { initialVector: mutate(request.initialVector, change) })).toBeNull()
        expect(unchanged(request, { encryptedFlowData: mutate(request.encryptedFlowData, change) })).toBeNull()
      }),
      { numRuns: 200 },
    )
    expect(unchanged(request, {})).not.toBeNull()
  })

  it('gives null for a short wrapped key that only lost its leading zeros', async () => {
    for (;;) {
      const request = await sealRequest(publicPem, Buffer.from('{}'))
      if (request.encryptedAesKey[0] !== 0) continue
      expect(unchanged(request, {})).not.toBeNull()
      expect(unchanged(request, { encryptedAesKey: request.encryptedAesKey.subarray(1) })).toBeNull()
      return
    }
  })

  it('opens a changed body only where the change means nothing (white space, an escaped slash)', async () => {
    const request = await sealRequest(publicPem, Buffer.from('{"action":"ping"}'))
    const body = bodyOf(request)
    const original = read(body)
    fc.assert(
      fc.property(mutation, (change) => {
        const sealed = readSealedRequest(mutate(body, change))
        if (sealed && openRequest(sealed, [flowKey])) expect(sealed).toEqual(original)
      }),
      { numRuns: 500 },
    )
  })

  it('never throws for any parts', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array({ maxLength: 20 }), fc.uint8Array(), (wrapped, iv, sealed) => {
        const encryptedAesKey = Buffer.concat([wrapped, Buffer.alloc(256)]).subarray(0, 256)
        const parts = { initialVector: Buffer.from(iv), encryptedFlowData: Buffer.from(sealed) }
        expect(openRequest({ ...parts, encryptedAesKey }, [flowKey])).toBeNull()
        expect(openRequest({ ...parts, encryptedAesKey: Buffer.from(wrapped) }, [flowKey])).toBeNull()
      }),
    )
  })
})
