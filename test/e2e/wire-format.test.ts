import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAccount, createWebhook, startRelevo, type TestRelevo } from '../support/relevo.ts'
import { type FakeTenant, type ReceivedCall, startTenant } from '../support/tenant.ts'
import { reply } from '../support/tenant-behaviours.ts'

interface Verifiers {
  isFresh(headers: IncomingHttpHeaders, rawBody: Buffer, secret: string): boolean
  isSigned(headers: IncomingHttpHeaders, rawBody: Buffer, secret: string): boolean
}

const python = 'python3'
const hasPython = spawnSync(python, ['--version']).status === 0
const harness = `
import sys, json
from email.message import Message
for case in json.load(sys.stdin):
    headers = Message()
    for name, value in case["headers"].items():
        headers[name] = value
    body = case["body"].encode()
    print(json.dumps([is_fresh(headers, body, case["secret"]), is_signed(headers, body, case["secret"])]))
`

/** docs/wire-format.md: the code that tenants copy is run against real requests. */
describe('the verifiers of docs/wire-format.md', () => {
  let relevo: TestRelevo
  let tenant: FakeTenant
  let page: string
  let folder: string
  const cases: Record<string, { headers: IncomingHttpHeaders; body: string; secret: string }> = {}

  const block = (language: string): string => {
    const found = new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(page)?.[1]
    return found ?? expect.fail(`the page has no ${language}`)
  }

  beforeAll(async () => {
    page = await readFile(new URL('../../docs/wire-format.md', import.meta.url), 'utf8')
    folder = await mkdtemp(join(tmpdir(), 'relevo-wire-format-'))
    // A busy machine must not change what is tested here.
    relevo = await startRelevo({ DEADLINE_MS: '5000', ENRICHMENT_BUDGET_MS: '5000' })
    tenant = await startTenant()
    tenant.always(reply({ screen: 'A', data: {} }))
    const made = await callWith(undefined)
    const own = await callWith('a secret of the tenant’s own')
    const unsigned = await callWith(null)
    const { headers, body, secret } = made
    const old = String(Number(headers['webhook-timestamp']) - 301)
    Object.assign(cases, {
      made,
      own,
      rotating: { ...made, headers: { ...headers, 'webhook-signature': `v1,AAAA ${headers['webhook-signature']}` } },
      unsigned: { ...unsigned, secret },
      'of another secret': { headers, body, secret: own.secret },
      'of a changed body': { headers, body: body.replace('FORM', 'FORN'), secret },
      'of an old time': { headers: { ...headers, 'webhook-timestamp': old }, body, secret },
      'of no time': { headers: { ...headers, 'webhook-timestamp': 'x' }, body, secret },
      'of odd headers': { headers: { 'webhook-signature': 'é v1,', 'x-webhook-signature': 'é' }, body, secret },
    })
  })
  afterAll(async () => {
    await tenant.close()
    await relevo.close()
    await rm(folder, { recursive: true })
  })

  async function callWith(secret: string | null | undefined) {
    const account = await createAccount(relevo)
    const webhook = await createWebhook(relevo, account, tenant.url, { secret })
    await account.meta.exchange('FORM', { name: 'Ana Ñ 🎉' }, 'a-token')
    const { headers, rawBody } = tenant.received.at(-1) as ReceivedCall
    return { headers, body: rawBody.toString(), secret: webhook.secret as string }
  }

  /** [is fresh, is signed] of each case. */
  const expected = {
    made: [true, true],
    own: [true, true],
    rotating: [true, true],
    unsigned: [false, false],
    'of another secret': [false, false],
    'of a changed body': [false, false],
    // X-Webhook-Signature does not cover the time.
    'of an old time': [false, true],
    'of no time': [false, true],
    'of odd headers': [false, false],
  }

  it('in TypeScript', async () => {
    const file = join(folder, 'verify.ts')
    await writeFile(file, block('ts'))
    const { isFresh, isSigned } = (await import(pathToFileURL(file).href)) as Verifiers
    const results = Object.entries(cases).map(([name, { headers, body, secret }]) => {
      const rawBody = Buffer.from(body)
      return [name, [isFresh(headers, rawBody, secret), isSigned(headers, rawBody, secret)]]
    })
    expect(Object.fromEntries(results)).toEqual(expected)
  })

  it.skipIf(!hasPython)('in Python', () => {
    const input = JSON.stringify(Object.values(cases))
    const { stdout, stderr } = spawnSync(python, ['-c', block('python') + harness], { input, encoding: 'utf8' })
    expect(stderr).toBe('')
    const results = stdout
      .trimEnd()
      .split('\n')
      .map((line, index) => [Object.keys(cases)[index], JSON.parse(line)])
    expect(Object.fromEntries(results)).toEqual(expected)
  })

  it('agree with the page’s own test values', async () => {
    const file = join(folder, 'vector.ts')
    await writeFile(file, block('ts'))
    const { isSigned, isFresh } = (await import(pathToFileURL(file).href)) as Verifiers
    const [, secret = '', body = '', id, timestamp] =
      /secret `([^`]+)`, the body `([^`]+)`, the\n`webhook-id` `([^`]+)` and the `webhook-timestamp` `(\d+)`/.exec(
        page,
      ) ?? []
    const lines = block('text')
      .trim()
      .split('\n')
      .map((line) => line.split(': ') as [string, string])
    const signatures = Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]))
    const headers = { ...signatures, 'webhook-id': id, 'webhook-timestamp': timestamp }
    const { now } = Date
    Date.now = () => Number(timestamp) * 1000
    try {
      expect(isFresh(headers, Buffer.from(body), secret)).toBe(true)
      expect(isSigned(headers, Buffer.from(body), secret)).toBe(true)
    } finally {
      Date.now = now
    }
  })

  it('stand beside an example that is as long as it says and carries every header', async () => {
    const example = JSON.stringify(JSON.parse(block('json')))
    const head = block('http')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(': ') as [string, string])
    const headers = Object.fromEntries(head.map(([name, value]) => [name.toLowerCase(), value]))
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(example))
    const sent = Object.keys(cases.made?.headers ?? {}).filter((name) => name !== 'connection')
    expect(
      Object.keys(headers)
        .filter((name) => name !== 'authorization')
        .sort(),
    ).toEqual(sent.sort())
    // The example's secret is that of the test values: it can be checked by hand.
    const file = join(folder, 'example.ts')
    await writeFile(file, block('ts'))
    const { isSigned } = (await import(pathToFileURL(file).href)) as Verifiers
    const [, secret = ''] = /the secret `([^`]+)`/.exec(page) ?? []
    expect(isSigned(headers, Buffer.from(example), secret)).toBe(true)
  })
})
