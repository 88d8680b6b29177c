import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileRules, findViolations, folderRules } from './import-rules.ts'
import { findCycles, packageOf, parseSource, readSources, repositoryRoot } from './sources.ts'

const sources = readSources()
const manifest: { dependencies: Record<string, string> } = JSON.parse(
  readFileSync(join(repositoryRoot, 'package.json'), 'utf8'),
)
const dependencies = Object.keys(manifest.dependencies)

describe('src', () => {
  it('imports only what design.md §3 allows (test/rules/import-rules.ts)', () => {
    expect(findViolations(sources)).toEqual([])
  })

  it('has no cycles, types included', () => {
    expect(findCycles(sources)).toEqual([])
  })

  it('imports only packages that are run-time dependencies', () => {
    const bare = sources.flatMap(({ imports }) => imports).filter((name) => name !== null && /^[^.]/.test(name))
    const packages = new Set(bare.filter((name) => !name?.startsWith('node:')).map((name) => packageOf(name ?? '')))
    expect([...packages].filter((name) => !dependencies.includes(name))).toEqual([])
  })

  it('has no run-time dependency that no decision in docs/adr names', () => {
    const folder = join(repositoryRoot, 'docs/adr')
    const decisions = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
    const isNamed = (name: string) => decisions.some((text) => text.includes(`\`${name}\``))
    expect(dependencies.filter((name) => !isNamed(name))).toEqual([])
  })

  it('loads OpenTelemetry only when traces are on: import() and types', () => {
    const loads = /^(import|export)(?! type\b)[^']*from '@opentelemetry\/|^import '@opentelemetry\//m
    expect(sources.filter(({ text }) => loads.test(text)).map(({ path }) => path)).toEqual([])
    expect(loads.test("import { trace } from '@opentelemetry/api'")).toBe(true)
  })

  it('reads the environment in config.ts alone; demo.ts may hand one on', () => {
    const readsEnvironment =
      /process\s*(\.|\?\.)\s*env\b|process\s*\[|\}\s*=\s*process\b|import\.meta\.env|node:process/
    const readers = sources.filter(({ text }) => readsEnvironment.test(text)).map(({ path }) => path)
    expect(readers.filter((path) => path !== 'demo.ts')).toEqual(['config.ts'])
  })
})

/** A rule that cannot fail holds nothing. */
describe('the rules see', () => {
  const violationOf = (path: string, text: string) => findViolations([parseSource(path, text)])

  it.each([
    ['a value', "import { openDatabase } from '../storage/database.ts'"],
    ['a type', "import type { Database } from '../storage/database.ts'"],
    ['an inline type', "export type D = import('../storage/database.ts').Database"],
    ['a side effect', "import '../storage/database.ts'"],
    ['a re-export', "export { openDatabase } from '../storage/database.ts'"],
    ['a re-exported type', "export type * from '../storage/database.ts'"],
    ['a dynamic import', "export const load = () => import('../storage/database.ts')"],
    ['a dynamic import as a template', 'export const load = () => import(`../storage/database.ts`)'],
  ])('%s', (_name, text) => {
    expect(violationOf('domain/made-up.ts', text)).toHaveLength(1)
  })

  it.each([
    ['domain/x.ts', 'node:crypto', 'may not import node:crypto'],
    ['domain/x.ts', 'pino', 'may not import pino'],
    ['crypto/x.ts', 'node:fs', 'may not import node:fs'],
    ['crypto/x.ts', '../domain/ids.ts', 'may not import domain/ids.ts'],
    ['storage/x.ts', '../crypto/sealed-secret.ts', 'may not import crypto/sealed-secret.ts'],
    ['storage/deep/x.ts', '../../crypto/digest.ts', 'may not import crypto/digest.ts'],
    ['delivery/x.ts', '../crypto/digest.ts', 'may not import crypto/digest.ts'],
    ['relay/x.ts', '../api/routes.ts', 'may not import api/routes.ts'],
    ['relay/x.ts', 'fastify', 'may not import fastify'],
    ['relay/x.ts', '../config.ts', 'may not import config.ts'],
    ['api/x.ts', '../relay/directory.ts', 'may not import relay/directory.ts'],
    ['api/x.ts', 'drizzle-orm/pg-core', 'may not import drizzle-orm/pg-core'],
    ['api/x.ts', '../app.ts', 'may not import app.ts'],
    ['simulator/x.ts', '../crypto/flow-cipher.ts', 'may not import crypto/flow-cipher.ts'],
    ['demo.ts', './config.ts', 'may not import config.ts'],
    ['demo/x.ts', '../demo.ts', 'may not import demo.ts'],
    ['operations-routes.ts', './storage/database.ts', 'may not import storage/database.ts'],
    ['config.ts', './domain/ids.ts', 'may not import domain/ids.ts'],
    ['app.ts', '../test/support/meta.ts', 'leaves src/ with ../test/support/meta.ts'],
    ['somewhere/x.ts', 'zod', 'no rule says what somewhere may import'],
    ['main.ts', 'zod', 'no rule says what main.ts may import'],
  ])('%s importing %s', (path, specifier, refusal) => {
    expect(violationOf(path, `import '${specifier}'`)).toEqual([`${path}: ${refusal}`])
  })

  it('an import that is computed', () => {
    expect(violationOf('api/x.ts', 'export const load = (name: string) => import(name)')).toHaveLength(1)
  })

  it('nothing wrong in what is allowed', () => {
    expect(violationOf('relay/made-up-route.ts', "import 'fastify'; import './exchange.ts'")).toEqual([])
    expect(violationOf('app.ts', "import './config.ts'; import 'undici'; import './relay/x.ts'")).toEqual([])
    expect(violationOf('storage/x.ts', "import 'drizzle-orm/pg-core'; import 'node:fs/promises'")).toEqual([])
  })

  it('a cycle of two, of three, of itself, and of types alone', () => {
    const cyclesOf = (files: Record<string, string>) =>
      findCycles(Object.entries(files).map(([path, name]) => parseSource(path, `import type {} from '${name}'`)))
    expect(cyclesOf({ 'api/a.ts': './b.ts', 'api/b.ts': './a.ts' })).toEqual(['api/a.ts → api/b.ts → api/a.ts'])
    expect(cyclesOf({ 'a.ts': './x/b.ts', 'x/b.ts': '../y/c.ts', 'y/c.ts': '../a.ts' })).toHaveLength(1)
    expect(cyclesOf({ 'a.ts': './a.ts' })).toEqual(['a.ts → a.ts'])
    expect(cyclesOf({ 'a.ts': './b.ts', 'b.ts': './c.ts', 'd.ts': './b.ts' })).toEqual([])
  })
})

it('every rule names folders that have one too', () => {
  const rules = [...Object.values(folderRules), ...Object.values(fileRules)]
  const named = rules.flatMap((rule) => (rule === 'composition' ? [] : rule.from))
  expect(named.filter((room) => !(room in folderRules))).toEqual([])
})
