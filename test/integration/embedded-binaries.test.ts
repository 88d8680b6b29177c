import { chmod, cp, mkdir, readdir, readFile, rm, stat, truncate } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type BinaryPackage,
  findPackage,
  removeLeftovers,
  usableBinaries,
} from '../../src/storage/embedded/binaries.ts'
import { run, type ServerUser, serverUser } from '../../src/storage/embedded/server-user.ts'
import { freshDataDir } from '../support/embedded.ts'

let dataDir: string
let user: ServerUser
let closed: BinaryPackage

/** A package as `npm ci --ignore-scripts` leaves it, in a folder that only its owner can enter. */
beforeEach(async () => {
  dataDir = await freshDataDir()
  await chmod(dataDir, 0o711)
  user = await serverUser(join(dataDir, 'postgresql'))
  const installed = await findPackage()
  const native = join(dataDir, 'closed', 'package', 'native')
  await mkdir(dirname(dirname(native)), { mode: 0o700 })
  const links = JSON.parse(await readFile(join(installed.native, 'pg-symlinks.json'), 'utf8')).map(
    ({ target }: { target: string }) => join(dirname(installed.native), target),
  )
  await cp(installed.native, native, { recursive: true, filter: (path) => !links.includes(path) })
  closed = { ...installed, native }
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

describe('binaries that the server cannot use where they are', () => {
  it('are copied once, with their symbolic links, and copied again when the copy is damaged', async () => {
    const binaries = await usableBinaries(closed, dataDir, user)
    const copy = join(dataDir, `postgresql-bin-${closed.version}`)
    expect(dirname(dirname(binaries.initdb))).toBe(copy)
    expect((await run(binaries.pgCtl, ['--version'], user)).output).toContain(`(PostgreSQL) ${binaries.major}.`)

    const { ino } = await stat(copy)
    expect(await usableBinaries(closed, dataDir, user)).toEqual(binaries)
    expect((await stat(copy)).ino).toBe(ino)

    await truncate(join(copy, 'bin/postgres'))
    expect(await usableBinaries(closed, dataDir, user)).toEqual(binaries)
    expect((await stat(copy)).ino).not.toBe(ino)
  })

  it('are removed with the next version', async () => {
    await mkdir(join(dataDir, 'postgresql-bin-17.1.0'))
    await mkdir(join(dataDir, `postgresql-bin-${closed.version}.0123456789ab`))
    await mkdir(join(dataDir, `postgresql-bin-${closed.version}`))
    await removeLeftovers(dataDir, closed)
    expect((await readdir(dataDir)).filter((name) => name.startsWith('postgresql-bin'))).toEqual([
      `postgresql-bin-${closed.version}`,
    ])
  })
})
