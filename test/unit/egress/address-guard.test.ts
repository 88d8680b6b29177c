import { describe, expect, test } from 'vitest'
import { readNetwork } from '../../../src/egress/address.ts'
import { createAddressGuard } from '../../../src/egress/address-guard.ts'
import { createOwnAddresses } from '../../../src/egress/own-addresses.ts'

const nowhere = { has: () => false }
const guard = createAddressGuard({ allowHttp: false, allowedNetworks: [], ownAddresses: nowhere })

/** Which addresses are whose: special-blocks.test.ts. How they may be written: textual-forms.test.ts. */
describe('allows', () => {
  test.each([
    ...['', ' ', 'localhost', 'example.com', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '8.8.8.8 ', '8.8.8.8.'],
    ...['8.8.2056', '134744072', '010.8.8.8', '8.8.8.8/32', '1.2.3.4.5', '[2606:4700::1111]', ':::', '::ffff:8.8.8'],
    ...['fe80::1%eth0', '2606:4700::1111%1', '::ffff:8.8.8.8%1', '8.8.8.8%1'],
  ])('refuses "%s", which is no plain address', (text) => {
    expect(guard.allows(text)).toBe(false)
  })

  test('reads an address as Node does, which does not take ::8.8.8.8 for a mapped one', () => {
    // As c-ares writes the AAAA record ::808:808.
    expect(guard.allows('::8.8.8.8')).toBe(false)
    expect(guard.allows('::808:808')).toBe(false)
    expect(guard.allows('::ffff:8.8.8.8')).toBe(true)
    expect(guard.allows('::ffff:808:808')).toBe(true)
  })
})

describe("this machine's addresses", () => {
  const own = createOwnAddresses({ interfaces: () => ({ eth0: [{ address: '8.8.4.4' }, { address: '2a00::1:0:5' }] }) })
  const here = createAddressGuard({ allowHttp: true, allowedNetworks: [], ownAddresses: own })

  test.each([
    ...['8.8.4.4', '::ffff:8.8.4.4', '::ffff:808:404', '64:ff9b::8.8.4.4', '64:ff9b:1::8.8.4.4', '2002:808:404::1'],
    ...['2a00::1:0:5', '2A00:0:0:0:0:1::5'],
  ])('%s is refused, public as it is', (address) => {
    expect(guard.allows(address)).toBe(true)
    expect(here.allows(address)).toBe(false)
    expect(here.allows('8.8.4.5')).toBe(true)
  })

  test('in a URL too', () => {
    expect(here.refusalOfUrl('http://8.8.4.4/')).toMatch(/may not be called/)
    expect(here.refusalOfCall(new URL('http://[2a00::1:0:5]:8080/'))).toMatch(/may not be called/)
  })

  test('unless they are exempt', () => {
    const exempting = createAddressGuard({ allowHttp: true, allowedNetworks: ['8.8.4.4/32'], ownAddresses: own })
    expect(exempting.allows('8.8.4.4')).toBe(true)
    expect(exempting.allows('2a00::1:0:5')).toBe(false)
  })

  test('that cannot be read could be any: nothing is allowed then, but what is exempt', () => {
    const has = (): boolean => {
      throw new Error('EMFILE')
    }
    const blind = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8'], ownAddresses: { has } })
    expect(blind.allows('8.8.8.8')).toBe(false)
    expect(blind.refusalOfUrl('http://8.8.8.8/')).toMatch(/may not be called/)
    expect(blind.refusalOfUrl('http://example.com/')).toBeNull()
    expect(blind.allows('127.0.0.1')).toBe(true)
  })
})

describe('exempted networks', () => {
  const local = createAddressGuard({ allowHttp: true, allowedNetworks: ['127.0.0.0/8', '10.1.0.0/16', 'fd12::/16'] })

  test.each(['127.0.0.1', '::ffff:127.0.0.1', '10.1.2.3', 'fd12::5'])('allow %s', (address) => {
    expect(local.allows(address)).toBe(true)
  })
  test.each(['10.2.0.1', '192.168.0.1', '::1', '::127.0.0.1', 'fd13::1', '127.0.0.1%lo'])(
    'do not allow %s',
    (address) => {
      expect(local.allows(address)).toBe(false)
    },
  )
  test.each(['64:ff9b::127.0.0.1', '64:ff9b:1::127.0.0.1', '2002:7f00:1::'])('do not reach through %s', (address) => {
    expect(local.allows(address)).toBe(false)
  })
  test('may be a prefix of a translator: then that is exempt whole', () => {
    const translated = createAddressGuard({ allowHttp: true, allowedNetworks: ['64:ff9b:1::/48'] })
    expect(translated.allows('64:ff9b:1:fffe::127.0.0.1')).toBe(true)
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
  test('what is called is judged without regard for what is only not worth storing', () => {
    for (const url of [
      `https://example.com/${'x'.repeat(9000)}`,
      'https://example.com/#top',
      'https://example.com/a b',
    ]) {
      expect(guard.refusalOfCall(new URL(url))).toBeNull()
    }
    for (const url of [
      'https://example.com:22/',
      'https://u@example.com/',
      'http://example.com/',
      'https://127.1/',
      'file:///',
    ]) {
      expect(guard.refusalOfCall(new URL(url))).toEqual(guard.refusalOfUrl(url))
      expect(guard.refusalOfCall(new URL(url))).not.toBeNull()
    }
  })
  test('http passes where it is allowed', () => {
    expect(withHttp.refusalOfUrl('http://example.com/hook')).toBeNull()
    expect(withHttp.refusalOfUrl('http://127.0.0.1/hook')).toMatch(/may not be called/)
  })
})
