import { createCipheriv, generateKeyPairSync, pbkdf2Sync } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { FlowKeyReader } from '../../../src/api/flow-key-reader.ts'
import { FlowKeyUnreadable } from '../../../src/crypto/flow-key.ts'
import { ApiError } from '../../../src/domain/errors.ts'

const { privateKey: flowKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const passphrase = 'correct horse ñ'

function element(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(tag, 0x82, content.length >> 8, content.length & 0xff), content])
}
const sequence = (...parts: Buffer[]) => element(0x30, ...parts)
const octets = (bytes: Buffer) => element(0x04, bytes)
const hex = (text: string) => Buffer.from(text, 'hex')

/** The flow key under PBES2 (RFC 8018 §6.2) with so many iterations: Node writes 2,048, whatever it is asked. */
function encrypted(iterations: number): string {
  const [salt, iv] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)]
  const cipher = createCipheriv('aes-256-cbc', pbkdf2Sync(passphrase, salt, iterations, 32, 'sha256'), iv)
  const plain = flowKey.export({ type: 'pkcs8', format: 'der' })
  const count = element(0x02, hex(iterations === 2048 ? '0800' : iterations.toString(16)))
  const hmacSha256 = sequence(hex('06082a864886f70d02090500'))
  const derivation = sequence(hex('06092a864886f70d01050c'), sequence(octets(salt), count, hmacSha256))
  const aes256 = sequence(hex('060960864801650304012a'), octets(iv))
  const algorithm = sequence(hex('06092a864886f70d01050d'), sequence(derivation, aes256))
  const der = sequence(algorithm, octets(Buffer.concat([cipher.update(plain), cipher.final()])))
  return `-----BEGIN ENCRYPTED PRIVATE KEY-----\n${der.toString('base64')}\n-----END ENCRYPTED PRIVATE KEY-----`
}

const [cheap, dear] = [encrypted(2048), encrypted(2 ** 20)]

it('reads an encrypted key, or says why it cannot, and goes on', async () => {
  const reader = new FlowKeyReader()
  await expect(reader.read(cheap, 'another')).rejects.toThrow(FlowKeyUnreadable)
  await expect(reader.read(cheap, 'another')).rejects.toThrow(/passphrase .* wrong/)
  expect((await reader.read(cheap, passphrase)).equals(flowKey)).toBe(true)
})

it('leaves the event loop alone, and reads one after the other', async () => {
  const reader = new FlowKeyReader()
  const ended: string[] = []
  const first = reader.read(dear, passphrase).then(() => ended.push('dear'))
  const second = reader.read(cheap, passphrase).then(() => ended.push('cheap'))
  await setImmediate()
  expect(ended).toEqual([])
  await Promise.all([first, second])
  expect(ended).toEqual(['dear', 'cheap'])
})

it('refuses the seventeenth that would wait, until the others are read', async () => {
  const reader = new FlowKeyReader()
  const reads = Array.from({ length: 17 }, () => reader.read(cheap, 'another').catch((error: unknown) => error))
  const errors = await Promise.all(reads)
  expect(errors.slice(0, 16).every((error) => error instanceof FlowKeyUnreadable)).toBe(true)
  expect(errors[16]).toBeInstanceOf(ApiError)
  expect(errors[16]).toMatchObject({ code: 'rate_limited' })
  expect((await reader.read(cheap, passphrase)).equals(flowKey)).toBe(true)
})
