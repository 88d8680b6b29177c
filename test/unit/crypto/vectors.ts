import { readFileSync } from 'node:fs'

interface FlowVector {
  readonly private_key_pem: string
  readonly private_key_passphrase: string
  readonly public_key_pem: string
  readonly request: Readonly<Record<'encrypted_flow_data' | 'encrypted_aes_key' | 'initial_vector', string>>
  readonly expected: Readonly<Record<'aes_key_hex' | 'iv_hex' | 'plaintext_utf8', string>>
  readonly response: Readonly<Record<'plaintext_utf8' | 'flipped_iv_hex' | 'expected_body_base64', string>>
}

interface HmacVector {
  readonly app_secret: string
  readonly raw_body_utf8: string
  readonly 'header_X-Hub-Signature-256': string
}

interface KeylessVector {
  readonly request: FlowVector['request']
  readonly lengths_bytes: Readonly<Record<string, number>>
}

/** Public vectors; where each is from stands in its `origin`. */
export const flowVector = read<FlowVector>('flow-init-pywa.json')
export const hmacVector = read<HmacVector>('webhook-hmac-pywa.json')
export const keylessVector = read<KeylessVector>('samples-without-key.json')

function read<Vector>(file: string): Vector {
  return JSON.parse(readFileSync(new URL(`../../vectors/${file}`, import.meta.url), 'utf8')) as Vector
}

export function outerBody(request: FlowVector['request']): Buffer {
  return Buffer.from(JSON.stringify(request))
}
