import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createOnce, DataDirError, makeDataDir, prepareDataDir } from '../../src/storage/data-dir.ts'

const ownMode = process.geteuid?.() === 0 ? 0o711 : 0o700

let parent: string
let dataDir: string

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'relevo-data-dir-'))
  dataDir = join(parent, 'new', 'data')
})
afterEach(() => rm(parent, { recursive: true, force: true }))

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

describe('the first start', () => {
  it('makes the folder, a master key of 32 bytes and an admin token, for us alone to read', async () => {
    const made = await prepareDataDir(dataDir)
    expect(Buffer.from(made.masterKey, 'base64')).toHaveLength(32)
    expect(made.adminToken).toMatch(/^[\w-]{43}$/)
    expect([made.masterKeyFile, made.adminTokenFile]).toEqual([
      join(dataDir, 'master-key'),
      join(dataDir, 'admin-token'),
    ])
    expect(await modeOf(dataDir)).toBe(ownMode)
    expect(await modeOf(made.masterKeyFile)).toBe(0o600)
    expect(await modeOf(made.adminTokenFile)).toBe(0o600)
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'master-key'])
  })

  it('gives all that start at once the same values', async () => {
    const all = await Promise.all(Array.from({ length: 16 }, () => prepareDataDir(dataDir)))
    expect(new Set(all.map(({ masterKey, adminToken }) => `${masterKey} ${adminToken}`)).size).toBe(1)
    expect((await readdir(dataDir)).sort()).toEqual(['admin-token', 'master-key'])
  })

  it('makes missing parents as passable as the folder, whatever the umask', async () => {
    const umask = process.umask(0o077)
    try {
      await makeDataDir(dataDir)
    } finally {
      process.umask(umask)
    }
    expect([await modeOf(join(parent, 'new')), await modeOf(dataDir)]).toEqual([ownMode, ownMode])
    expect(await modeOf(parent)).toBe(0o700)
  })
})

describe('a later start', () => {
  it('reads what the first one made', async () => {
    const first = await prepareDataDir(dataDir)
    expect(await prepareDataDir(dataDir)).toEqual(first)
  })

  it("takes an operator's own values, with or without a line end", async () => {
    const masterKey = Buffer.alloc(32, 7).toString('base64')
    await mkdir(dataDir, { recursive: true })
    await writeFile(join(dataDir, 'master-key'), masterKey)
    await writeFile(join(dataDir, 'admin-token'), `${'t'.repeat(32)}\r\n`)
    expect(await prepareDataDir(dataDir)).toMatchObject({ masterKey, adminToken: 't'.repeat(32) })
  })

  it('corrects the mode of the folder and follows a symbolic link to it', async () => {
    const target = join(parent, 'target')
    await mkdir(target)
    await chmod(target, 0o755)
    await symlink(target, join(parent, 'link'))
    expect(await makeDataDir(join(parent, 'link'))).toBe(target)
    expect(await modeOf(target)).toBe(ownMode)
  })

  it.each([
    ['master-key', ''],
    ['master-key', Buffer.alloc(31).toString('base64')],
    ['master-key', 'not base64 of anything, but long enough to be'],
    ['admin-token', ''],
    ['admin-token', 't'.repeat(31)],
    ['admin-token', 't'.repeat(1001)],
    ['admin-token', `${'t'.repeat(32)} ${'t'.repeat(32)}`],
  ])('names a %s that holds %j, and leaves it as it is', async (name, text) => {
    await prepareDataDir(dataDir)
    await writeFile(join(dataDir, name), text)
    const failure = await prepareDataDir(dataDir).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(DataDirError)
    expect(String(failure)).toContain(join(dataDir, name))
    expect(String(failure)).not.toContain('\n')
    if (text !== '') expect(String(failure)).not.toContain(text)
    expect(await readFile(join(dataDir, name), 'utf8')).toBe(text)
  })
})

describe('what cannot be used', () => {
  it('is named: a key file that cannot be read', async () => {
    await mkdir(join(dataDir, 'master-key'), { recursive: true })
    await expect(prepareDataDir(dataDir)).rejects.toThrow(`cannot read or make ${dataDir}/master-key: EISDIR`)
  })

  it('is named: a file in the place of the folder, and of its parent', async () => {
    const file = join(parent, 'file')
    await writeFile(file, '')
    await expect(makeDataDir(file)).rejects.toThrow(`cannot use ${file} as DATA_DIR: EEXIST`)
    await expect(makeDataDir(join(file, 'below'))).rejects.toThrow(`cannot use ${file}/below as DATA_DIR: ENOTDIR`)
  })

  it('is named: a folder shared with other users, such as /tmp, whose mode stays', async () => {
    await mkdir(dataDir, { recursive: true })
    await chmod(dataDir, 0o1777)
    await expect(makeDataDir(dataDir)).rejects.toThrow(`${dataDir} is shared with other users`)
    expect((await stat(dataDir)).mode & 0o7777).toBe(0o1777)
  })
})

describe('createOnce', () => {
  it('leaves no draft when the text cannot be made', async () => {
    const fail = () => {
      throw new Error('no entropy')
    }
    await expect(createOnce(join(parent, 'token'), fail)).rejects.toThrow(
      `cannot read or make ${parent}/token: no entropy`,
    )
    expect(await readdir(parent)).toEqual([])
  })
})
