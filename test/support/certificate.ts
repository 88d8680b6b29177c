import { generateKeyPairSync, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'

export interface Certificate {
  /** Both PEM. The certificate signs itself, so it is also the authority to trust. */
  readonly key: string
  readonly cert: string
}

/** A self-signed P-256 certificate made on the spot: no private key is kept in the repository, no openssl is needed. */
export function makeCertificate(options: {
  hosts: readonly string[]
  notAfter?: Date
  /** It names an issuer that is shown to nobody, as of a chain that is cut short. */
  issuer?: string
}): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const nameOf = (text: string) => sequence(set(sequence(commonNameId, utf8(text))))
  const name = nameOf('relevo test tenant')
  const notBefore = new Date(Date.UTC(2020, 0, 1))
  const notAfter = options.notAfter ?? new Date(Date.UTC(2049, 0, 1))
  const body = sequence(
    tagged(0xa0, integer(2)),
    integer(1),
    sequence(ecdsaWithSha256Id),
    options.issuer === undefined ? name : nameOf(options.issuer),
    sequence(utcTime(notBefore), utcTime(notAfter)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(sequence(subjectAltNameId, tagged(0x04, sequence(...options.hosts.map(altName)))))),
  )
  const signature = tagged(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, privateKey)]))
  const der = sequence(body, sequence(ecdsaWithSha256Id), signature)
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
  }
}

// The few pieces of DER (X.690) that X.509 needs.
const commonNameId = tagged(0x06, Buffer.from([0x55, 0x04, 0x03]))
const subjectAltNameId = tagged(0x06, Buffer.from([0x55, 0x1d, 0x11]))
const ecdsaWithSha256Id = tagged(0x06, Buffer.from([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]))

function tagged(tag: number, content: Buffer): Buffer {
  const length = content.length
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from(head), content])
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts))
}

function set(...parts: Buffer[]): Buffer {
  return tagged(0x31, Buffer.concat(parts))
}

function integer(value: number): Buffer {
  return tagged(0x02, Buffer.from([value]))
}

function utf8(text: string): Buffer {
  return tagged(0x0c, Buffer.from(text))
}

function utcTime(date: Date): Buffer {
  const digits = date.toISOString().replace(/\D/g, '')
  return tagged(0x17, Buffer.from(`${digits.slice(2, 14)}Z`))
}

function altName(host: string): Buffer {
  return isIPv4(host) ? tagged(0x87, Buffer.from(host.split('.').map(Number))) : tagged(0x82, Buffer.from(host))
}
