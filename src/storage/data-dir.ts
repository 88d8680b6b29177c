import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, realpath, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

/** DATA_DIR or a file in it cannot be used. The message is one line that names it. */
export class DataDirError extends Error {}

export interface DataDirSecrets {
  /** Base64 of 32 bytes. */
  readonly masterKey: string
  /** 32 to 1000 characters, as ADMIN_TOKEN. */
  readonly adminToken: string
  readonly masterKeyFile: string
  readonly adminTokenFile: string
}

/**
 * Makes DATA_DIR and, on first use, its `master-key` and `admin-token`; later starts read them (contract.md §2).
 * Starts at the same moment agree on one value. Throws DataDirError.
 */
export async function prepareDataDir(dataDir: string): Promise<DataDirSecrets> {
  const folder = await makeDataDir(dataDir)
  const masterKeyFile = join(folder, 'master-key')
  const adminTokenFile = join(folder, 'admin-token')
  const masterKey = await createOnce(masterKeyFile, () => randomBytes(32).toString('base64'))
  if (!isMasterKey(masterKey)) throw new DataDirError(`${masterKeyFile} does not hold the base64 of 32 bytes`)
  const adminToken = await createOnce(adminTokenFile, () => randomBytes(32).toString('base64url'))
  if (!/^[!-~]{32,1000}$/.test(adminToken)) {
    throw new DataDirError(`${adminTokenFile} does not hold a token of 32 to 1000 printable characters`)
  }
  return { masterKey, adminToken, masterKeyFile, adminTokenFile }
}

/**
 * Makes the folder and returns its real path. As root 0711, because PostgreSQL passes through it under another uid,
 * else 0700. A folder of someone else's keeps its mode. Throws DataDirError.
 */
export async function makeDataDir(dataDir: string): Promise<string> {
  const folder = resolve(dataDir)
  const mode = process.geteuid?.() === 0 ? 0o711 : 0o700
  try {
    const first = await mkdir(folder, { recursive: true, mode })
    // The umask may have taken bits from the parents that were missing too.
    for (let made = folder; first !== undefined && made.length >= first.length; made = dirname(made)) {
      await chmod(made, mode)
    }
    const found = await stat(folder)
    if ((found.mode & 0o1000) !== 0) {
      throw new DataDirError(`${folder} is shared with other users: name a folder of Relevo's own as DATA_DIR`)
    }
    if (found.uid === process.geteuid?.() && (found.mode & 0o777) !== mode) await chmod(folder, mode)
    return await realpath(folder)
  } catch (error) {
    throw named(error, `cannot use ${folder} as DATA_DIR`)
  }
}

/**
 * The trimmed text of a 0600 file; a missing file is made first, whole and flushed to disk before it has its name, so
 * that no start ever reads half a key and two of them read the same one. Throws DataDirError.
 */
export async function createOnce(file: string, makeText: () => string): Promise<string> {
  try {
    const text = await readIfThere(file)
    if (text !== undefined) return text
    const draft = `${file}.${randomBytes(6).toString('hex')}`
    try {
      await writeDurably(draft, `${makeText()}\n`)
      await link(draft, file).catch(unlessCode('EEXIST'))
    } finally {
      await rm(draft, { force: true })
    }
    await flushFolder(dirname(file))
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    throw named(error, `cannot read or make ${file}`)
  }
}

/** Makes renames and new names in a folder survive a power cut. */
export async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder)
  // Some file systems cannot flush a folder; there is nothing better to do on them.
  await handle.sync().catch(unlessCode('EINVAL', 'EPERM', 'ENOTSUP'))
  await handle.close()
}

/** For `.catch()`: swallows errors with one of these codes, rethrows others. */
export function unlessCode(...codes: readonly string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes(codeOf(error) ?? '')) throw error
    return undefined
  }
}

export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : undefined
}

async function readIfThere(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(unlessCode('ENOENT'))
  return text?.trim()
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function isMasterKey(text: string): boolean {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === 32 && bytes.toString('base64') === text
}

function named(error: unknown, what: string): DataDirError {
  if (error instanceof DataDirError) return error
  const reason = codeOf(error) ?? (error instanceof Error ? error.message : String(error))
  return new DataDirError(`${what}: ${reason}`, { cause: error })
}
