const longest = 32_768
const privateBlock = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----(.*?)-----END \1-----/s
const dekInfo = /^\s*Proc-Type:\s*4,ENCRYPTED\s+DEK-Info:\s*([\w-]+,[0-9A-Fa-f]+)\s/
const base64 = /^[A-Za-z0-9+/]+={0,2}$/

/** One PEM block, taken apart. `dekInfo`: cipher and IV of the old encrypted form (RFC 1421 §4.6.1.3), or null. */
export interface PemBlock {
  readonly label: string
  readonly dekInfo: string | null
  readonly der: Buffer
}

/**
 * The first private key in a text, however it travelled: indented, CRLF, quoted, `\n` written out as in an env variable, or all in
 * one line with spaces. Null when there is none, or over 32 KiB.
 */
export function readPrivateKeyBlock(text: string): PemBlock | null {
  if (text.length > longest) return null
  // From the first backslash of several only: else a run of them would be walked from each.
  const block = privateBlock.exec(text.replace(/(?<!\\)\\+[rn]/g, '\n'))
  if (!block) return null
  const [, label = '', inner = ''] = block
  const headers = dekInfo.exec(inner)
  const encoded = inner.slice(headers?.[0].length ?? 0).replace(/\s+/g, '')
  return base64.test(encoded) ? { label, dekInfo: headers?.[1] ?? null, der: Buffer.from(encoded, 'base64') } : null
}

/** The block as OpenSSL reads it: lines of 64 characters. */
export function formatPem({ label, dekInfo, der }: PemBlock): string {
  const headers = dekInfo === null ? [] : ['Proc-Type: 4,ENCRYPTED', `DEK-Info: ${dekInfo}`, '']
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...headers, ...lines, `-----END ${label}-----`, ''].join('\n')
}
