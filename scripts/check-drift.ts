import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import drizzleConfig from '../drizzle.config.ts'
import { type GeneratedDoc, generatedDocs, repositoryRoot } from './generated-docs.ts'

/** Null, or the line that says what has drifted and what mends it. */
async function driftOfDoc({ path, make }: GeneratedDoc): Promise<string | null> {
  const written = await readFile(join(repositoryRoot, path), 'utf8').catch(() => null)
  if (written === (await make())) return null
  return `${path} ${written === null ? 'is missing' : 'is not what the code says'}: run npm run docs`
}

/**
 * Lets drizzle-kit make the next migration in a copy, and sees whether there is one. It needs no database. It ends with 0
 * when it fails, too, and asks on a terminal where a column may have been renamed, so only its own word counts.
 */
async function driftOfMigrations(): Promise<string | null> {
  const { schema, out = 'migrations', dialect } = drizzleConfig
  const folder = await mkdtemp(join(tmpdir(), 'relevo-drift-'))
  try {
    const copy = join(folder, 'migrations')
    await cp(join(repositoryRoot, out), copy, { recursive: true })
    // It puts ./ before whatever --out says.
    const flags = [`--dialect=${dialect}`, `--schema=${schema}`, `--out=${relative(repositoryRoot, copy)}`]
    const drizzleKit = join(repositoryRoot, 'node_modules/drizzle-kit/bin.cjs')
    const { stdout, stderr } = spawnSync(process.execPath, [drizzleKit, 'generate', ...flags], {
      cwd: repositoryRoot,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      timeout: 30_000,
    })
    const before = await readdir(join(repositoryRoot, out))
    const made = (await readdir(copy)).filter((name) => !before.includes(name))
    const mend = 'run npm run generate-migration'
    if (made.length > 0) return `${out} is behind the schema (${schema}): ${mend}`
    if (stdout.includes('No schema changes')) return null
    const said = (stderr.trim() || stdout.trim()).split('\n', 1)[0]?.slice(0, 100)
    return `drizzle-kit cannot compare ${out} with the schema (${said}): ${mend}`
  } finally {
    await rm(folder, { recursive: true })
  }
}

const drifts = await Promise.all([...generatedDocs.map(driftOfDoc), driftOfMigrations()])
for (const drift of drifts) if (drift !== null) process.stderr.write(`drift: ${drift}\n`)
if (drifts.some((drift) => drift !== null)) process.exitCode = 1
