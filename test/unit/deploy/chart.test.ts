import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1'
import { Ajv } from 'ajv'
import { Deployment, StatefulSet } from 'kubernetes-models/apps/v1'
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2'
import { Job } from 'kubernetes-models/batch/v1'
import { Ingress, NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1'
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1'
import { Secret, Service } from 'kubernetes-models/v1'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { type Fields, renderChart } from '../../support/chart.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = join(root, 'deploy/helm/relevo')
const models = {
  Deployment,
  HorizontalPodAutoscaler,
  Ingress,
  Job,
  NetworkPolicy,
  PodDisruptionBudget,
  Secret,
  Service,
  ServiceMonitor,
  StatefulSet,
}

const least = {
  image: { repository: 'registry.example/relevo' },
  publicUrl: 'https://relevo.example.com',
  secrets: {
    values: {
      DATABASE_URL: 'postgres://relevo@db.example/relevo',
      MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
      ADMIN_TOKEN: 'a'.repeat(32),
    },
  },
  networkPolicy: { database: [{ ipBlock: { cidr: '10.0.3.7/32' } }] },
}
const everything = {
  ...least,
  image: { ...least.image, tag: 'main' },
  imagePullSecrets: [{ name: 'pull' }],
  secrets: { existing: 'made-elsewhere' },
  settings: { DEADLINE_MS: '900', LOG_LEVEL: 'warn' },
  relay: { autoscaling: { enabled: false }, spool: { storageClassName: 'fast' } },
  ingress: { enabled: true, className: 'nginx', host: 'relevo.example.com', tlsSecretName: 'tls' },
  networkPolicy: { ...least.networkPolicy, ingressFrom: [{ podSelector: {} }] },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  nodeSelector: { pool: 'relays' },
  tolerations: [{ key: 'relays', operator: 'Exists', effect: 'NoSchedule' }],
}

// biome-ignore lint/suspicious/noExplicitAny: looks into objects of many kinds
type Any = any

const render = (values: Fields) => renderChart(folder, values) as Any[]
const named = (objects: Any[], kind: string, name: string) =>
  objects.find((object) => object.kind === kind && object.metadata.name === name)

describe('the chart', () => {
  const objects = [...render(least), ...render(everything)]

  it('renders objects that Kubernetes takes', () => {
    expect(objects.length).toBeGreaterThan(25)
    for (const object of objects) {
      const Model = models[object.kind as keyof typeof models] as unknown as new (object: Any) => { validate(): void }
      expect(() => new Model(object).validate(), `${object.kind} ${object.metadata.name}`).not.toThrow()
    }
  })

  it('has no member that Kubernetes does not know, which it would leave out', () => {
    const typed = objects.map((object, index) => `export const it${index}: ${object.kind} = ${JSON.stringify(object)}`)
    const check = (lines: readonly string[]) => typecheck(importsOf(objects), lines)
    expect(check(typed)).toBe('')
    expect(check([typed[0]?.replace('"spec":{', '"spec":{"replica":2,') ?? ''])).toContain('"replica"')
  })

  it('runs every role, each under its name, from one image and one Secret', () => {
    for (const [values, secret, image] of [
      [least, 'relevo-secrets', 'registry.example/relevo:0.1.0'],
      [everything, 'made-elsewhere', 'registry.example/relevo:main'],
    ] as const) {
      const made = render(values)
      const pods = ['StatefulSet', 'Deployment', 'Job'].flatMap((kind) => made.filter((object) => object.kind === kind))
      const containers = pods.map((object) => object.spec.template.spec.containers[0])
      expect(containers.map(({ image: it }) => it)).toEqual(Array(4).fill(image))
      expect(containers.map(({ envFrom }) => envFrom)).toEqual(Array(4).fill([{ secretRef: { name: secret } }]))
      const roles = containers.flatMap(({ env }) => env.filter(({ name }: Any) => name === 'ROLE'))
      expect(roles.map(({ value }) => value)).toEqual(['relay', 'api', 'worker'])
      expect(made.some(({ kind }) => kind === 'Secret')).toBe(values === least)
    }
  })

  it('restarts the pods when secret values change, and for nothing else', () => {
    const sums = (values: Fields) =>
      render(values)
        .filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
        .map(({ spec }) => spec.template.metadata.annotations['relevo/secrets'])
    const changed = { ...least, secrets: { values: { ...least.secrets.values, META_APP_SECRETS: 'b'.repeat(32) } } }
    const [before] = sums(least)
    expect(before).toMatch(/^[0-9a-f]{64}$/)
    expect(sums({ ...least, drainSeconds: 4 })).toEqual([before, before, before])
    expect(sums(changed)).not.toContain(before)
  })

  it('has Prometheus call its processes by the job that the alert rules know, whatever the release is called', () => {
    const made = renderChart(folder, everything, 'prod') as Any[]
    const { jobLabel, selector } = made.find(({ kind }) => kind === 'ServiceMonitor').spec
    const service = made.find(({ kind, metadata }) => kind === 'Service' && metadata.name === 'prod-metrics')
    expect(service.metadata.labels).toMatchObject(selector.matchLabels)
    expect(service.metadata.labels[jobLabel]).toBe('relevo')
  })

  it('selects by each Service and budget the pods that it is about', () => {
    for (const made of [render(least), render(everything)]) {
      const pods = made.filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
      const selectors = made.flatMap((object) =>
        object.kind === 'Service' ? [object.spec.selector] : (object.spec?.selector?.matchLabels ?? []),
      )
      for (const selector of selectors.filter((it) => it['app.kubernetes.io/component'] !== 'metrics')) {
        const labels = pods.map((object) => object.spec.template.metadata.labels)
        const chosen = labels.filter((it) => Object.entries(selector).every(([name, value]) => it[name] === value))
        expect(chosen).toHaveLength(selector['relevo-metrics'] === undefined ? 1 : 3)
      }
    }
  })

  it('lets a pod write to its spool alone, as nobody of rank', () => {
    for (const { kind, spec } of objects.filter((object) => object.spec?.template)) {
      const pod = spec.template.spec
      expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, fsGroup: 1000 })
      expect(pod.automountServiceAccountToken).toBe(false)
      const [container] = pod.containers
      expect(container.securityContext.readOnlyRootFilesystem).toBe(true)
      const mounted = (container.volumeMounts ?? []).map(({ mountPath }: Any) => mountPath)
      expect(mounted).toEqual(kind === 'Job' ? [] : ['/var/lib/relevo'])
    }
  })

  it('keeps pods from every network that is not the public one, the database apart', () => {
    const { egress } = named(objects, 'NetworkPolicy', 'relevo').spec
    const [names, database, world] = egress
    expect(names.ports.map(({ port }: Any) => port)).toEqual([53, 53])
    expect(database).toEqual({ ports: [{ port: 5432, protocol: 'TCP' }], to: least.networkPolicy.database })
    expect(egress).toHaveLength(3)
    const [four, six] = world.to.map(({ ipBlock }: Any) => ipBlock)
    expect(four.except).toEqual(
      expect.arrayContaining(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16']),
    )
    expect(six.except).toEqual(expect.arrayContaining(['fc00::/7', 'fe80::/10']))
  })

  it('migrates before new pods, with the Secret there before that', () => {
    const [job, secret] = [named(objects, 'Job', 'relevo-migrate'), named(objects, 'Secret', 'relevo-secrets')]
    for (const { metadata } of [job, secret])
      expect(metadata.annotations['helm.sh/hook']).toBe('pre-install,pre-upgrade')
    const weights = [secret, job].map(({ metadata }) => Number(metadata.annotations['helm.sh/hook-weight']))
    expect(weights).toEqual([-10, 0])
  })

  it.each([
    ['image', 'image.repository'],
    ['publicUrl', 'publicUrl'],
    ['secrets', 'secrets.values.DATABASE_URL'],
    ['networkPolicy', 'networkPolicy.database'],
  ])('names what is missing: %s', (left, message) => {
    const { [left as 'image']: _, ...rest } = least
    expect(() => render(rest)).toThrow(message)
  })
})

describe('the time a pod has to end', () => {
  const withTimes = (drainSeconds: number, terminationGracePeriodSeconds: number) =>
    render({ ...least, drainSeconds, terminationGracePeriodSeconds })

  it.each([
    [0, 35],
    [25, 60],
    [60, 95],
  ])('may be what is left of it after a drain of %i s: %i s', (drain, grace) => {
    expect(() => withTimes(drain, grace)).not.toThrow()
  })

  it.each([
    [1, 35],
    [26, 60],
    [60, 60],
  ])('is not cut short by a drain of %i s: not %i s', (drain, grace) => {
    expect(() => withTimes(drain, grace)).toThrow(`terminationGracePeriodSeconds must be at least ${drain + 35}`)
  })
})

describe('the schema of its values', () => {
  const validate = new Ajv({ strict: true, allErrors: true, strictRequired: false }).compile(
    JSON.parse(readFileSync(join(folder, 'values.schema.json'), 'utf8')),
  )
  const defaults = parse(readFileSync(join(folder, 'values.yaml'), 'utf8'))
  const over = (values: Record<string, Record<string, unknown>>) => {
    const all = { ...defaults }
    for (const [name, value] of Object.entries(values)) all[name] = { ...defaults[name], ...value }
    return all
  }

  it('takes the defaults and knows each of them', () => {
    expect(validate(defaults), JSON.stringify(validate.errors)).toBe(true)
    const schema = JSON.parse(readFileSync(join(folder, 'values.schema.json'), 'utf8'))
    expect(Object.keys(schema.properties).toSorted()).toEqual([...Object.keys(defaults), 'global'].toSorted())
  })

  it('takes the admin tokens that a process takes', () => {
    for (const token of ['a'.repeat(32), '!~'.repeat(500)])
      expect(validate(over({ secrets: { values: { ADMIN_TOKEN: token } } }))).toBe(true)
  })

  it.each<[string, Record<string, Record<string, unknown>>]>([
    ['an unknown member', { relay: { replica: 3 } }],
    ['a number for a setting', { settings: { DEADLINE_MS: 900 } }],
    ['a secret among the settings', { settings: { ADMIN_TOKEN: 'x' } }],
    ['a short admin token', { secrets: { values: { ADMIN_TOKEN: 'a'.repeat(31) } } }],
    ['a long admin token', { secrets: { values: { ADMIN_TOKEN: 'a'.repeat(1001) } } }],
    ['an admin token with a space', { secrets: { values: { ADMIN_TOKEN: `${'a'.repeat(32)} a` } } }],
    ['an admin token with a line break', { secrets: { values: { ADMIN_TOKEN: `${'a'.repeat(32)}\n` } } }],
    ['an admin token beyond ASCII', { secrets: { values: { ADMIN_TOKEN: `${'a'.repeat(32)}ñ` } } }],
    ['a master key of another size', { secrets: { values: { MASTER_KEY: 'c2hvcnQ=' } } }],
    ['an ingress without a host', { ingress: { enabled: true } }],
    ['a network that is none', { networkPolicy: { exceptIPv4: ['everything'] } }],
    ['no relay', { relay: { replicas: 0 } }],
  ])('refuses %s', (_, values) => {
    expect(validate(over(values))).toBe(false)
  })
})

function importsOf(made: readonly Any[]): string[] {
  return [...new Set(made.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`))].map((each) => {
    const [apiVersion = '', kind = ''] = each.split(' ')
    const [group = '', version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
    const own = group === 'monitoring.coreos.com' ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models'
    return `import type { I${kind} as ${kind} } from '${own}/${group === '' ? '' : `${group}/`}${version}/${kind}'`
  })
}

/** What the compiler says of object literals of these types: it refuses members that a type does not have. */
function typecheck(imports: readonly string[], lines: readonly string[]): string {
  // Inside the repository, so that its packages are found.
  const at = join(root, 'node_modules/.cache/relevo-chart')
  mkdirSync(at, { recursive: true })
  writeFileSync(join(at, 'objects.ts'), [...imports, ...lines].join('\n'))
  const options = ['--noEmit', '--ignoreConfig', '--strict', '--skipLibCheck', '--module', 'nodenext', 'objects.ts']
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options], {
      cwd: at,
      stdio: 'pipe',
    })
    return ''
  } catch (error) {
    return String((error as { stdout?: Buffer }).stdout)
  } finally {
    rmSync(at, { recursive: true })
  }
}
