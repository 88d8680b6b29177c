import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createAddressGuard, readNetwork } from '../../../src/egress/address-guard.ts'

const guard = createAddressGuard({ allowHttp: false, allowedNetworks: [] })

const blocked = {
  unspecified: ['0.0.0.0', '0.1.2.3', '::'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1'],
  'carrier-grade NAT': ['100.64.0.1', '100.100.100.200', '100.127.255.255'],
  'link local and cloud metadata': ['169.254.0.1', '169.254.169.254', 'fe80::1', 'febf::1', 'fd00:ec2::254'],
  'zone ids': ['fe80::1%eth0', '2606:4700::1111%1'],
  'Azure platform': ['168.63.129.16', '::ffff:168.63.129.16'],
  'unique local and site local': ['fc00::1', 'fdff::1', 'fec0::1'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  'reserved and broadcast': [
    '192.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '192.88.99.1',
    '192.31.196.1',
    '192.52.193.1',
  ],
  'documentation and benchmarking': ['192.0.2.1', '198.51.100.1', '203.0.113.1', '198.18.0.1', '198.19.255.255'],
  'documentation v6': ['2001:db8::1', '3fff::1', '2001:2::1'],
  'IPv4 in IPv6': ['::ffff:127.0.0.1', '::ffff:7f00:1', '::ffff:10.0.0.1', '::127.0.0.1', '::ffff:0:127.0.0.1'],
  'NAT64, 6to4, Teredo': ['64:ff9b::808:808', '64:ff9b:1::1', '2002:7f00:1::', '2002:808:808::', '2001::1'],
  'IETF protocol space and the rest': [
    '2001:10::1',
    '2001:20::1',
    '2001:4:112::1',
    '100::1',
    '4000::1',
    '5f00::1',
    '8000::1',
  ],
  'no address at all': [
    '',
    ' ',
    'localhost',
    'example.com',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0177.0.0.1',
    '1.1.1.1 ',
    '[::1]',
    '1.1.1.1/32',
    ':::',
    '1.2.3.4.5',
  ],
}

describe('allows', () => {
  test.each(Object.entries(blocked))('refuses %s', (_, addresses) => {
    expect(addresses.filter((address) => guard.allows(address))).toEqual([])
  })

  test.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '100.63.0.1',
    '100.128.0.1',
    '126.255.255.255',
    '128.0.0.1',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00:1450::1',
    '::ffff:8.8.8.8',
    '::ffff:808:808',
  ])('allows %s', (address) => {
    expect(guard.allows(address)).toBe(true)
  })

  test('never throws and allows nothing but addresses, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.ipV4Extended()), (text) => {
        if (guard.allows(text)) expect(isIP(text)).not.toBe(0)
      }),
    )
  })
})

describe('exempted networks', () => {
  const local = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8', '10.1.0.0/16', 'fd12::/16'] })

  test.each(['127.0.0.1', '::ffff:127.0.0.1', '10.1.2.3', 'fd12::5'])('allow %s', (address) => {
    expect(local.allows(address)).toBe(true)
  })
  test.each(['10.2.0.1', '192.168.0.1', '::1', 'fd13::1', '127.0.0.1%lo'])('do not allow %s', (address) => {
    expect(local.allows(address)).toBe(false)
  })
  test('allow literal URLs of theirs', () => {
    expect(local.refusalOfUrl('http://127.0.0.1:8080/hook')).toBeNull()
    expect(local.refusalOfUrl('http://[fd12::5]/hook')).toBeNull()
    expect(local.refusalOfUrl('http://10.2.0.1/hook')).toMatch(/may not be called/)
  })

  test.each(['10.0.0.0/8', '10.1.2.3/8', '0.0.0.0/0', 'fd00::/8', '::/0', '1.2.3.4/32', 'fe80::/128'])(
    '%s reads',
    (cidr) => {
      expect(() => readNetwork(cidr)).not.toThrow()
    },
  )
  test.each([
    '',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10/8',
    '127.1/8',
    'fd00::/129',
    'localhost/8',
    '10.0.0.0/8/8',
    '10.0.0.0/ 8',
    '::ffff:10.0.0.0/104',
    'fe80::1%eth0/64',
  ])('"%s" is named in the error', (cidr) => {
    expect(() => createAddressGuard({ allowHttp: false, allowedNetworks: ['10.0.0.0/8', cidr] })).toThrow(`"${cidr}"`)
  })
})

describe('refusalOfUrl', () => {
  const withHttp = createAddressGuard({ allowHttp: true, allowedNetworks: [] })

  test.each([
    'https://example.com',
    'https://example.com/hook?a=b',
    'https://example.com:443/',
    'https://example.com:80/',
    'https://example.com:8443',
    'https://1.1.1.1/',
    'https://[2606:4700::1111]:65535/',
    'https://localhost/',
    'https://bücher.example/',
    `https://example.com/${'x'.repeat(2028)}`,
  ])('%s passes', (url) => {
    expect(guard.refusalOfUrl(url)).toBeNull()
  })
  test.each([
    ['', /absolute URL/],
    ['example.com/hook', /absolute URL/],
    ['/hook', /absolute URL/],
    ['https://', /absolute URL/],
    [' https://example.com', /absolute URL/],
    ['https://exa\nmple.com', /absolute URL/],
    ['https://example.com/a b', /absolute URL/],
    ['https://example.com:99999', /absolute URL/],
    ['ftp://example.com', /begin with https/],
    ['javascript:alert(1)', /begin with https/],
    ['file:///etc/passwd', /begin with https/],
    ['http://example.com', /http is not allowed/],
    ['https://user@example.com', /user name/],
    ['https://user:pass@example.com', /user name/],
    ['https://:pass@example.com', /user name/],
    ['https://example.com/#top', /fragment/],
    ['https://example.com/#', /fragment/],
    ['https://example.com:22', /port/],
    ['https://example.com:25', /port/],
    ['https://example.com:0', /port/],
    ['https://example.com:1023', /port/],
    ['https://127.0.0.1/', /may not be called/],
    ['https://[::1]/', /may not be called/],
    ['https://[::ffff:10.0.0.1]/', /may not be called/],
    ['https://169.254.169.254/latest/meta-data', /may not be called/],
    [`https://example.com/${'x'.repeat(2029)}`, /2048 characters/],
  ])('%s is refused', (url, why) => {
    expect(guard.refusalOfUrl(url)).toMatch(why)
  })
  test('http passes where it is allowed', () => {
    expect(withHttp.refusalOfUrl('http://example.com/hook')).toBeNull()
    expect(withHttp.refusalOfUrl('http://127.0.0.1/hook')).toMatch(/may not be called/)
  })

  test('every textual form of a blocked address that the URL parser takes is refused', () => {
    const forms = fc
      .tuple(fc.constantFrom(...blockedIpv4()), fc.nat(0xffff))
      .chain(([address, seed]) => fc.constantFrom(...formsOfIpv4(address, seed)))
    fc.assert(
      fc.property(forms, (host) => {
        const url = `https://${host}/hook`
        if (URL.canParse(url)) expect(guard.refusalOfUrl(url)).not.toBeNull()
        expect(guard.allows(host.replace(/^\[|\]$/g, ''))).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })
})

function blockedIpv4(): number[] {
  return Object.values(blocked)
    .flat()
    .filter((address) => isIP(address) === 4)
    .map((address) => address.split('.').reduce((value, byte) => value * 256 + Number(byte), 0))
}

/** The forms that inet_aton and the URL standard know, and the ways of writing IPv4 inside IPv6. */
function formsOfIpv4(address: number, seed: number): string[] {
  const bytes = [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256)
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  const write = (value: number, i: number) =>
    [`${value}`, `0x${value.toString(16)}`, `0${value.toString(8)}`, `0X00${value.toString(16).toUpperCase()}`][
      (seed >> (2 * i)) & 3
    ] ?? ''
  const wide = [...`${a}.${b}.${c}.${d}`]
    .map((char) => (char === '.' ? '。' : String.fromCodePoint(char.charCodeAt(0) + 0xfee0)))
    .join('')
  const [high, low] = [((a << 8) | b).toString(16), ((c << 8) | d).toString(16)]
  return [
    [a, b, c, d].map(write).join('.'),
    [a, b, c * 256 + d].map(write).join('.'),
    [a, (b * 256 + c) * 256 + d].map(write).join('.'),
    write(address, 0),
    `${a}.${b}.${c}.${d}.`,
    wide,
    encodeURIComponent(`${a}.${b}.${c}.${d}`).replaceAll('.', '%2e'),
    `[::ffff:${a}.${b}.${c}.${d}]`,
    `[::FFFF:${high}:${low}]`,
    `[0:0:0:0:0:ffff:${high}:${low}]`,
    `[::${a}.${b}.${c}.${d}]`,
    `[64:ff9b::${high}:${low}]`,
    `[2002:${high}:${low}::1]`,
  ].filter((form) => form !== `${a}.${b}.${c}.${d}`)
}
