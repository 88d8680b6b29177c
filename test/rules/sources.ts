import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { parseSync, Visitor } from 'oxc-parser'

export const repositoryRoot = join(import.meta.dirname, '../..')

/** A file of `src/`, by its path from there, with `/` between folders. */
export interface SourceFile {
  readonly path: string
  readonly text: string
  /** What it imports, types included, as written; null where that is computed at run time. */
  readonly imports: readonly (string | null)[]
}

export function readSources(): readonly SourceFile[] {
  const root = join(repositoryRoot, 'src')
  const paths = globSync('**/*.ts', { cwd: root }).sort()
  return paths.map((path) => parseSource(path.replaceAll('\\', '/'), readFileSync(join(root, path), 'utf8')))
}

/**
 * The files of the repository: what git knows and what is new and not ignored. Where git or its folder is missing (an
 * unpacked archive, a machine with npm alone) all that is neither hidden nor put there by an install or a run.
 */
export function listFiles(): readonly string[] {
  // The setting lets root read a clone that is someone else's.
  const listing = ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--deduplicate']
  const git = spawnSync('git', ['-c', 'safe.directory=*', ...listing], { cwd: repositoryRoot, encoding: 'utf8' })
  if (git.status === 0)
    return git.stdout.split('\0').filter((path) => existsSync(join(repositoryRoot, path)) && path !== '')
  const entries = globSync('**/*', {
    cwd: repositoryRoot,
    withFileTypes: true,
    exclude: ['node_modules', 'coverage'],
  })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(repositoryRoot, join(entry.parentPath, entry.name)))
}

/** Throws when the text is not TypeScript. */
export function parseSource(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`)
  const imports: (string | null)[] = []
  const take = (source: { readonly type: string; readonly value?: unknown } | null) => {
    if (source !== null) imports.push(typeof source.value === 'string' ? source.value : null)
  }
  new Visitor({
    ImportDeclaration: ({ source }) => take(source),
    ExportNamedDeclaration: ({ source }) => take(source),
    ExportAllDeclaration: ({ source }) => take(source),
    ImportExpression: ({ source }) => take(source),
    TSImportType: ({ source }) => take(source),
    TSExternalModuleReference: ({ expression }) => take(expression),
  }).visit(program)
  return { path, text, imports }
}

/** The file of `src/` that a relative import names; it may begin with `../`. */
export function resolveImport(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier)
}

/** `fastify`, `@scope/name`: the package that a bare import belongs to. */
export function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

/** Each ring of files that import one another, types included, once: `a.ts → b.ts → a.ts`. */
export function findCycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter((name) => name?.startsWith('.')).map((name) => resolveImport(path, name ?? '')),
    ]),
  )
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) cycles.push([...trail.slice(start), path].join(' → '))
    if (start >= 0 || done.has(path)) return
    for (const target of targets.get(path) ?? []) visit(target, [...trail, path])
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return cycles
}
