import { access, constants, open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Finding, findingsOf } from './finding.ts'
import { codeOf } from './probe.ts'

const spool = findingsOf('spool')

const mebi = 1024 * 1024
/** An empty spool's files have less. */
const emptyBytes = 1 * mebi
const failFreeBytes = 100 * mebi
const warnFreeBytes = 1024 * mebi

/** Whether rows could be put on the disk of this machine, and whether some are: DATA_DIR/spool. Makes no folder: it would be ours. */
export async function checkSpool(dataDir: string): Promise<Finding> {
  const folder = join(resolve(dataDir), 'spool')
  const there = await nearest(folder)
  const problem = await tryToWrite(there, there === folder || there === dirname(folder))
  if (problem !== null) {
    const advice =
      'DATA_DIR must be a folder of the service on a local disk: without it a database that is away costs rows'
    return spool.fail(`cannot be written (${problem})`, advice)
  }
  const { bavail, bsize } = await statfs(there)
  const names = there === folder ? await readdir(folder) : []
  const sizes = await Promise.all(names.map((name) => sizeOf(join(folder, name))))
  return judge(
    names,
    sizes.reduce((sum, size) => sum + size, 0),
    bavail * bsize,
  )
}

function judge(names: readonly string[], bytes: number, free: number): Finding {
  const seen = `${inMebi(bytes)} in ${names.length} files, ${inMebi(free)} free`
  if (free < failFreeBytes) return spool.fail(seen, 'make room on that disk now: rows can soon be put nowhere')
  const damaged = names.filter((name) => name.endsWith('.damaged')).length
  if (damaged > 0)
    return spool.warn(`${seen}, ${damaged} damaged`, 'copy them away and look: docs/operations.md, "Spool"')
  if (free < warnFreeBytes) return spool.warn(seen, 'make room on that disk')
  if (bytes > emptyBytes) {
    return spool.warn(seen, 'rows wait for the database: is it away, or a process that died not back?')
  }
  return spool.ok(`writable, ${seen}`)
}

/** The folder, or the first above it that is there: it is made when it is first needed. */
async function nearest(folder: string): Promise<string> {
  const isThere = await stat(folder).then(
    () => true,
    (error: unknown) => codeOf(error) !== 'ENOENT',
  )
  return isThere || folder === dirname(folder) ? folder : nearest(dirname(folder))
}

/** As the user that runs the doctor: run it as the service's. Null, or the code of what went wrong. */
async function tryToWrite(folder: string, isOwn: boolean): Promise<string | null> {
  const file = join(folder, `doctor-${process.pid}`)
  try {
    await access(folder, constants.W_OK | constants.X_OK)
    if (!isOwn) return null
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile('relevo')
      await handle.sync()
    } finally {
      await handle.close()
      await rm(file, { force: true })
    }
    return null
  } catch (error) {
    return codeOf(error)
  }
}

/** 0 for one that is gone meanwhile. */
function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  )
}

function inMebi(bytes: number): string {
  return `${Math.round(bytes / mebi)} MiB`
}
