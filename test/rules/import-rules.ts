import { packageOf, resolveImport, type SourceFile } from './sources.ts'

interface Rule {
  /** Other folders and top-level files of `src/`. */
  readonly from: readonly string[]
  readonly packages: readonly string[]
  /** Modules of Node, without `node:`. */
  readonly node: readonly string[] | 'any'
  /** Packages for files of certain names only. */
  readonly packagesWhere?: { readonly path: RegExp; readonly packages: readonly string[] }
}

/** What routes are made of: design.md §4 says fastify, and means its plugins; schemas are said in zod (contract.md §6). */
const fastifyAndSchemas = [
  'fastify',
  '@fastify/helmet',
  '@fastify/rate-limit',
  '@fastify/swagger',
  '@fastify/swagger-ui',
  'zod',
]

/** Folders of design.md §3, by name. `demo/` are the rooms of demo.ts. */
export const folderRules: Readonly<Record<string, Rule>> = {
  domain: { from: [], packages: ['zod'], node: [] },
  crypto: { from: [], packages: [], node: ['crypto'] },
  ops: {
    from: ['domain'],
    packages: ['pino', 'prom-client'],
    node: 'any',
    packagesWhere: {
      path: /^ops\/trace-export\.ts$/,
      packages: [
        '@opentelemetry/api',
        '@opentelemetry/sdk-trace',
        '@opentelemetry/resources',
        '@opentelemetry/exporter-trace-otlp-http',
      ],
    },
  },
  storage: { from: ['domain', 'ops'], packages: ['drizzle-orm', 'postgres'], node: 'any' },
  egress: { from: ['domain', 'ops'], packages: ['undici', 'ipaddr.js'], node: 'any' },
  delivery: { from: ['domain', 'ops', 'egress'], packages: ['undici'], node: 'any' },
  events: { from: ['domain', 'crypto', 'delivery', 'storage', 'ops'], packages: ['pg-boss'], node: 'any' },
  /** Jobs that one elected process does for all. */
  maintenance: { from: ['domain', 'storage', 'ops'], packages: [], node: 'any' },
  graph: { from: ['domain', 'ops', 'egress'], packages: ['undici'], node: 'any' },
  simulator: { from: [], packages: [], node: 'any' },
  demo: { from: ['simulator'], packages: [], node: 'any' },
  /** Looks at a running deployment from the outside, as Meta does, and at what it stands on. */
  doctor: { from: ['domain', 'crypto', 'graph', 'simulator', 'events', 'storage'], packages: [], node: 'any' },
  relay: {
    from: ['domain', 'crypto', 'delivery', 'egress', 'storage', 'events', 'ops'],
    packages: [],
    node: 'any',
    packagesWhere: { path: /^relay\/[^/]+-route\.ts$/, packages: ['fastify'] },
  },
  api: {
    from: ['domain', 'crypto', 'delivery', 'storage', 'events', 'graph', 'ops'],
    packages: fastifyAndSchemas,
    node: 'any',
  },
}

/** The files beside the folders, and `app/` and `processes/`, the rooms of app.ts and serve.ts. `composition`: may import everything, and alone may import config.ts. */
export const fileRules: Readonly<Record<string, Rule | 'composition'>> = {
  'app.ts': 'composition',
  app: 'composition',
  processes: 'composition',
  'explain.ts': 'composition',
  'closing.ts': 'composition',
  'end-signals.ts': { from: [], packages: [], node: [] },
  'serve.ts': 'composition',
  'cli.ts': 'composition',
  'commands.ts': 'composition',
  'runtime.ts': { from: ['storage'], packages: [], node: ['module', 'v8'] },
  'doctor.ts': 'composition',
  'config.ts': { from: ['crypto', 'egress', 'ops', 'storage'], packages: ['zod'], node: [] },
  // Beside the folders because storage knows no queue.
  'migrate.ts': { from: ['events', 'storage'], packages: [], node: [] },
  'demo.ts': { from: ['simulator', 'demo'], packages: [], node: 'any' },
  'server.ts': { from: ['api', 'ops'], packages: ['fastify'], node: 'any' },
  'operations-routes.ts': { from: ['crypto', 'ops'], packages: ['fastify'], node: [] },
  // Beside the folders because storage must not see what it opens.
  'reseal.ts': { from: ['crypto', 'storage'], packages: [], node: [] },
}

/** Files that import a path found out at run time: the platform's PostgreSQL binaries. */
const mayCompute = ['storage/embedded/binaries.ts']

/** One line for each import that its file may not make. */
export function findViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => {
    const room = roomOf(file.path)
    const rule = fileRules[room] ?? folderRules[room]
    if (rule === undefined) return [`${file.path}: no rule says what ${room} may import`]
    const refusals = new Set(file.imports.map((specifier) => refusalOf(file.path, rule, specifier)))
    return [...refusals].filter((refusal) => refusal !== null).map((refusal) => `${file.path}: ${refusal}`)
  })
}

function refusalOf(path: string, rule: Rule | 'composition', specifier: string | null): string | null {
  if (specifier === null) return mayCompute.includes(path) ? null : 'imports a path computed at run time'
  if (specifier.startsWith('.')) return refusalOfFile(path, rule, specifier)
  if (rule === 'composition') return null
  if (specifier.startsWith('node:')) {
    const allowed = rule.node === 'any' || rule.node.includes(specifier.slice('node:'.length))
    return allowed ? null : `may not import ${specifier}`
  }
  const { packagesWhere } = rule
  const here = packagesWhere?.path.test(path) ? [...rule.packages, ...packagesWhere.packages] : rule.packages
  return here.includes(packageOf(specifier)) ? null : `may not import ${specifier}`
}

function refusalOfFile(path: string, rule: Rule | 'composition', specifier: string): string | null {
  const target = resolveImport(path, specifier)
  if (target.startsWith('../')) return `leaves src/ with ${specifier}`
  const room = roomOf(target)
  if (rule === 'composition' || room === roomOf(path) || rule.from.includes(room)) return null
  return `may not import ${target}`
}

/** The folder, or for a file beside the folders the file. */
function roomOf(path: string): string {
  return path.split('/', 1)[0] ?? path
}
