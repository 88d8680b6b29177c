import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigInvalid, describeConfig, type Environment, readConfig } from '../../src/config.ts'

const masterKey = Buffer.alloc(32, 7).toString('base64')
const adminToken = 'a'.repeat(32)
const external = { DATABASE_URL: 'postgres://db.example/relevo', MASTER_KEY: masterKey, ADMIN_TOKEN: adminToken }

/** The one line that a start with these variables ends with. */
function faultOf(environment: Environment): string {
  try {
    readConfig(environment)
  } catch (error) {
    if (error instanceof ConfigInvalid) return error.message
    throw error
  }
  throw new Error('it was accepted')
}

describe('defaults', () => {
  it('are those of contract.md §2', () => {
    expect(readConfig({})).toEqual({
      DATABASE_URL: undefined,
      DATABASE_BACKEND: 'postgres',
      DATABASE_DIRECT_URL: undefined,
      DATABASE_PREPARE: true,
      DATA_DIR: '.relevo',
      HOST: '127.0.0.1',
      PORT: 8080,
      PUBLIC_URL: undefined,
      MASTER_KEY: undefined,
      MASTER_KEYS_PREVIOUS: [],
      ADMIN_TOKEN: undefined,
      META_APP_SECRETS: [],
      META_VERIFY_TOKEN: undefined,
      META_SIGNATURE: 'required',
      GRAPH_API_URL: 'https://graph.facebook.com',
      GRAPH_API_VERSION: 'v25.0',
      DEADLINE_MS: 700,
      ENRICHMENT_BUDGET_MS: 100,
      WEBHOOK_USER_AGENT: 'Platica-Webhooks/1.0',
      WEBHOOK_ALLOW_HTTP: false,
      WEBHOOK_ALLOWED_NETWORKS: [],
      WORKERS: 1,
      ROLE: 'all',
      API_RATE_LIMIT: 30,
      PAYLOAD_RETENTION_DAYS: 7,
      LOG_RETENTION_DAYS: 30,
      OTEL_EXPORTER_OTLP_ENDPOINT: undefined,
      OTEL_TRACES_SAMPLER_ARG: 1,
      LOG_LEVEL: 'info',
    })
  })

  it('stand for empty variables too', () => {
    const names = Object.keys(readConfig({}))
    expect(readConfig(Object.fromEntries(names.map((name) => [name, ''])))).toEqual(readConfig({}))
  })

  it('leave other variables of the environment alone', () => {
    expect(readConfig({ PATH: '/bin', relevo: 'x', port: '1' })).toEqual(readConfig({}))
  })
})

describe('values', () => {
  it.each([
    ['DATABASE_PREPARE', 'false', false],
    ['PORT', '0', 0],
    ['PORT', '65535', 65_535],
    ['PUBLIC_URL', 'https://relevo.example/base///', 'https://relevo.example/base'],
    ['MASTER_KEYS_PREVIOUS', ` ${masterKey} ,${masterKey}`, [masterKey, masterKey]],
    ['ADMIN_TOKEN', '~'.repeat(1000), '~'.repeat(1000)],
    ['META_APP_SECRETS', 'one, two,,', ['one', 'two']],
    ['META_SIGNATURE', 'off', 'off'],
    ['GRAPH_API_URL', 'http://127.0.0.1:9/graph/', 'http://127.0.0.1:9/graph'],
    ['GRAPH_API_VERSION', 'v26.0', 'v26.0'],
    ['DEADLINE_MS', '100', 100],
    ['DEADLINE_MS', '8000', 8000],
    ['WEBHOOK_ALLOW_HTTP', 'true', true],
    ['WEBHOOK_ALLOWED_NETWORKS', '127.0.0.0/8, fd00::/8', ['127.0.0.0/8', 'fd00::/8']],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'http://collector:4318/', 'http://collector:4318'],
    ['OTEL_TRACES_SAMPLER_ARG', '0.05', 0.05],
    ['OTEL_TRACES_SAMPLER_ARG', '0', 0],
    ['LOG_LEVEL', 'debug', 'debug'],
  ])('%s=%s', (name, value, expected) => {
    expect(readConfig({ [name]: value })).toMatchObject({ [name]: expected })
  })

  it.each(['postgres://a/b', 'postgresql://a/b', 'postgres://one:5432,two:5432/b?target_session_attrs=read-write'])(
    'DATABASE_URL=%s',
    (DATABASE_URL) => {
      expect(readConfig({ ...external, DATABASE_URL }).DATABASE_URL).toBe(DATABASE_URL)
    },
  )
})

describe('a bad value', () => {
  const bad: [name: string, value: string, fault: string][] = [
    ['DATABASE_URL', 'mysql://user:bad-value@db/x', 'must begin with postgres://'],
    ['DATABASE_BACKEND', 'bad-value', 'must be one of postgres, citus'],
    [
      'DATABASE_URL',
      'postgres://one,two/bad-value?target_session_attrs=any',
      'must be a URL with one host or several, of a primary',
    ],
    [
      'DATABASE_URL',
      'postgres://relevo:50%bad-value@db/relevo',
      'must have a % of its user, password, host or database written as %25',
    ],
    ['DATABASE_DIRECT_URL', 'mysql://user:bad-value@db/x', 'must begin with postgres://'],
    ['DATABASE_PREPARE', 'bad-value', 'must be one of true, false'],
    ['DATABASE_PREPARE', 'TRUE', 'must be one of true, false'],
    ['PORT', 'bad-value', 'must be a whole number'],
    ['PORT', '80.5', 'must be a whole number'],
    ['PORT', '-1', 'must be a whole number'],
    ['PORT', '65536', 'must be from 0 to 65535'],
    ['PUBLIC_URL', 'bad-value', 'must be an http or https URL'],
    ['PUBLIC_URL', 'ftp://bad-value.example', 'must be an http or https URL'],
    ['MASTER_KEY', 'bad-value', 'must be base64 of 32 bytes'],
    ['MASTER_KEY', Buffer.alloc(31, 7).toString('base64'), 'must be base64 of 32 bytes'],
    ['MASTER_KEYS_PREVIOUS', `${masterKey},bad-value`, 'must be base64 of 32 bytes, comma-separated'],
    ['ADMIN_TOKEN', 'bad-value', 'must be at least 32 characters'],
    ['ADMIN_TOKEN', `bad-value ${adminToken}`, 'must be ASCII without spaces'],
    ['ADMIN_TOKEN', `${adminToken}bad-value\n`, 'must be ASCII without spaces'],
    ['ADMIN_TOKEN', `${adminToken}ñ-bad-value`, 'must be ASCII without spaces'],
    ['ADMIN_TOKEN', 'bad-value'.repeat(112), 'must be at most 1000 characters'],
    ['META_SIGNATURE', 'bad-value', 'must be one of required, off'],
    ['GRAPH_API_URL', 'bad-value', 'must be an http or https URL'],
    ['GRAPH_API_VERSION', 'bad-value', 'must be a version such as v25.0'],
    ['GRAPH_API_URL', 'bad-value', 'must be an http or https URL'],
    ['GRAPH_API_VERSION', 'bad-value', 'must be a version such as v25.0'],
    ['GRAPH_API_VERSION', '25.0', 'must be a version such as v25.0'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'bad-value:4318', 'must be an http or https URL'],
    ['OTEL_TRACES_SAMPLER_ARG', 'bad-value', 'must be a share from 0 to 1'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5', 'must be a share from 0 to 1'],
    ['DEADLINE_MS', 'bad-value', 'must be a whole number'],
    ['DEADLINE_MS', '0', 'must be from 1 to 8000'],
    ['DEADLINE_MS', '8001', 'must be from 1 to 8000'],
    ['ENRICHMENT_BUDGET_MS', '5001', 'must be from 0 to 5000'],
    ['ENRICHMENT_BUDGET_MS', '1e2', 'must be a whole number'],
    ['WEBHOOK_USER_AGENT', 'bad-value\n', 'must be printable ASCII'],
    ['WEBHOOK_ALLOW_HTTP', '1', 'must be one of true, false'],
    ['WEBHOOK_ALLOWED_NETWORKS', '127.0.0.0/8,bad-value', 'must be CIDRs, comma-separated, such as 127.0.0.0/8'],
    ['WORKERS', '0', 'must be from 1 to 64'],
    ['WORKERS', 'bad-value', 'must be a whole number'],
    ['ROLE', 'bad-value', 'must be one of all, relay, api, worker'],
    ['LOG_LEVEL', 'bad-value', 'must be one of fatal, error, warn, info, debug, trace, silent'],
  ]

  it.each(bad)('of %s (%j) is told in one line, without the value', (name, value, fault) => {
    const line = faultOf({ ...(name.startsWith('DATABASE_') ? external : {}), [name]: value })
    expect(line).toBe(`${name} ${fault}`)
    expect(line).not.toContain('bad-value')
  })

  it('is told together with all others', () => {
    expect(faultOf({ PORT: 'x', LOG_LEVEL: 'x', ADMIN_TOKEN: 'short' }).split('; ')).toEqual([
      'PORT must be a whole number',
      'ADMIN_TOKEN must be at least 32 characters',
      expect.stringMatching(/^LOG_LEVEL must be one of /),
    ])
  })

  it('is never repeated, whatever it is and whichever variable it stands in', () => {
    const name = fc.constantFrom(...Object.keys(readConfig({})))
    const value = fc.string({ unit: 'binary' }).map((text) => `<${text}>`)
    fc.assert(
      fc.property(fc.dictionary(name, value), (environment) => {
        try {
          readConfig(environment)
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigInvalid)
          expect((error as Error).message).toMatch(/^[^\n<>]+$/)
        }
      }),
    )
  })
})

describe('with DATABASE_URL', () => {
  it('a master key and an admin token are required', () => {
    const required = 'is required with DATABASE_URL'
    expect(faultOf({ DATABASE_URL: external.DATABASE_URL })).toBe(`MASTER_KEY ${required}; ADMIN_TOKEN ${required}`)
    expect(faultOf({ ...external, MASTER_KEY: '' })).toBe(`MASTER_KEY ${required}`)
    expect(faultOf({ ...external, ADMIN_TOKEN: undefined })).toBe(`ADMIN_TOKEN ${required}`)
  })

  it('is needed by no role', () => {
    for (const ROLE of ['all', 'relay', 'api', 'worker']) expect(readConfig({ ROLE }).ROLE).toBe(ROLE)
  })

  it('DATABASE_DIRECT_URL names the same database, never that of embedded mode', () => {
    const DATABASE_DIRECT_URL = 'postgres://direct.example/relevo'
    expect(readConfig({ ...external, DATABASE_DIRECT_URL })).toMatchObject({ DATABASE_DIRECT_URL })
    const { MASTER_KEY, ADMIN_TOKEN } = external
    expect(faultOf({ DATABASE_DIRECT_URL, MASTER_KEY, ADMIN_TOKEN })).toBe(
      'DATABASE_URL is required with DATABASE_DIRECT_URL',
    )
  })

  it('DATABASE_BACKEND=citus names a cluster, which embedded mode is not', () => {
    expect(readConfig({ ...external, DATABASE_BACKEND: 'citus' }).DATABASE_BACKEND).toBe('citus')
    const { MASTER_KEY, ADMIN_TOKEN } = external
    expect(faultOf({ DATABASE_BACKEND: 'citus', MASTER_KEY, ADMIN_TOKEN })).toBe(
      'DATABASE_URL is required with DATABASE_BACKEND=citus',
    )
  })

  it('what is missing, short and wrong stands in one line', () => {
    const line = faultOf({ ...external, MASTER_KEY: undefined, ADMIN_TOKEN: 'short', PORT: 'x' })
    expect(line.split('; ').map((fault) => fault.split(' ')[0])).toEqual(
      expect.arrayContaining(['MASTER_KEY', 'ADMIN_TOKEN', 'PORT']),
    )
    expect(line).not.toContain('\n')
  })

  it('all given, it starts', () => {
    expect(readConfig(external)).toMatchObject(external)
  })

  it('unset, neither is required', () => {
    expect(readConfig({ MASTER_KEY: masterKey })).toMatchObject({ MASTER_KEY: masterKey, ADMIN_TOKEN: undefined })
  })
})

describe('the page of settings', () => {
  it('has a row for each variable, with its default', () => {
    const rows = describeConfig()
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split(' | ').slice(0, 2).join(' | '))
    expect(rows.map((row) => row.match(/`(\w+)`/)?.[1])).toEqual(Object.keys(readConfig({})))
    expect(rows).toEqual(
      expect.arrayContaining(['| `PORT` | `8080`', '| `MASTER_KEY` | –', '| `DATABASE_URL` | `embedded`']),
    )
  })
})
