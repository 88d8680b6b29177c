import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, open as openFile, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SpoolFile } from '../../../src/storage/spool/file.ts'
import { Spool, SpoolError } from '../../../src/storage/spool.ts'

const module = new URL('../../../src/storage/spool.ts', import.meta.url).href
const label = '0badcafe'
const rowsOf = (...texts: string[]) => texts.map((text) => Buffer.from(text))
const textOf = ({ rows }: { rows: readonly Uint8Array[] }) => rows.map((row) => Buffer.from(row).toString())
const megabyte = 1024 * 1024

let dataDir: string
const open: Spool[] = []
const spoolOf = (labels = [label]): Spool => {
  const spool = new Spool({ dataDir, labels })
  open.push(spool)
  return spool
}
const files = () => readdir(join(dataDir, 'spool'))

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'relevo-spool-'))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((spool) => spool.close().catch(() => undefined)))
  await rm(dataDir, { recursive: true })
})

/** A process of its own that spools rows, says so, and then does what it is told. */
function process(rows: string[], then: string) {
  const script = `
    import { Spool } from ${JSON.stringify(module)}
    const spool = new Spool({ dataDir: ${JSON.stringify(dataDir)}, labels: ['${label}'] })
    await spool.append(${JSON.stringify(rows)}.map((text) => Buffer.from(text)))
    console.log('spooled')
    ${then}`
  return ['--input-type=module', '-e', script]
}
const node = globalThis.process.execPath
const spoolAndDie = (...rows: string[]) => {
  try {
    execFileSync(node, process(rows, "process.kill(process.pid, 'SIGKILL')"), { stdio: 'pipe' })
  } catch {
    // Killed, as it should be.
  }
}

describe('a spool', () => {
  it('gives rows back in order, in batches, and leaves no file once it is empty', async () => {
    const spool = spoolOf()
    await spool.append(rowsOf('a', 'b'))
    await spool.append(rowsOf('c'))
    expect([spool.rows, spool.bytes]).toEqual([3, 3])
    expect(textOf(await spool.first(2, megabyte))).toEqual(['a', 'b'])
    expect(textOf(await spool.first(2, megabyte))).toEqual(['a', 'b'])
    await spool.append(rowsOf('d'))
    await spool.removeFirst()
    expect(textOf(await spool.first(9, megabyte))).toEqual(['c', 'd'])
    await spool.removeFirst()
    expect([spool.rows, spool.bytes]).toEqual([0, 0])
    expect(await files()).toEqual([])
    await spool.append(rowsOf('e'))
    expect(textOf(await spool.first(9, megabyte))).toEqual(['e'])
  })

  it('ends a batch once it weighs enough, but never gives none', async () => {
    const spool = spoolOf()
    await spool.append(rowsOf('aaaa', 'bbbb', 'cccc'))
    expect(textOf(await spool.first(9, 1))).toEqual(['aaaa'])
    expect(textOf(await spool.first(9, 5))).toEqual(['aaaa', 'bbbb'])
  })

  it('makes its folder 0700 and its files 0600', async () => {
    const spool = spoolOf()
    await spool.append(rowsOf('a'))
    const folder = join(dataDir, 'spool')
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    const found = await files()
    expect(found).toHaveLength(2)
    for (const file of found) expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600)
  })

  it('makes nothing before it is needed', async () => {
    const spool = spoolOf()
    expect(await spool.adopt()).toEqual([])
    await spool.close()
    expect(await readdir(dataDir)).toEqual([])
  })

  it('says why a folder cannot be looked into: rows of a dead process may lie there', async () => {
    await writeFile(join(dataDir, 'spool'), 'in the way')
    await expect(spoolOf().adopt()).rejects.toThrow(SpoolError)
    await expect(spoolOf().adopt()).rejects.toThrow(/ENOTDIR.*spool/)
  })

  it('leaves no file behind that the disk does not take', async () => {
    const path = join(dataDir, 'full.sqlite')
    // Where SQLite cannot make its log it fails as on a full disk: after the file is made.
    await mkdir(`${path}-wal`)
    expect(() => SpoolFile.create(path)).toThrow()
    expect(await readdir(dataDir)).toEqual(['full.sqlite-wal'])
  })

  it('takes no more before a disk that hangs took what it has', async () => {
    const spool = spoolOf()
    await spool.open()
    const first = spool.append(rowsOf('a'))
    await expect(spool.append(rowsOf('b'))).rejects.toThrow('the disk does not answer')
    await first
    await spool.append(rowsOf('b'))
    expect(spool.rows).toBe(2)
  })

  it('says why the disk does not take rows, and takes them once it does', async () => {
    await writeFile(join(dataDir, 'spool'), 'a file in the way')
    const spool = spoolOf()
    await expect(spool.append(rowsOf('a'))).rejects.toThrow(/spool/)
    await rm(join(dataDir, 'spool'))
    await spool.append(rowsOf('a'))
    expect(spool.rows).toBe(1)
  })
})

describe('the spool of another process', () => {
  it('is taken over once that process was killed, oldest first, before its own rows', async () => {
    spoolAndDie('a', 'b')
    spoolAndDie('c')
    const spool = spoolOf()
    await spool.append(rowsOf('d'))
    expect(await spool.adopt()).toEqual([])
    expect(spool.rows).toBe(4)
    const found: string[] = []
    while (spool.rows > 0) {
      found.push(...textOf(await spool.first(9, megabyte)))
      await spool.removeFirst()
    }
    expect(found).toEqual(['a', 'b', 'c', 'd'])
    expect(await files()).toEqual([])
  })

  it('is left alone while that process lives, by others and within one process', async () => {
    const child = spawn(node, process(['a'], 'setInterval(() => {}, 1000)'), { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    const [spool, sibling] = [spoolOf(), spoolOf()]
    await spool.adopt()
    await sibling.append(rowsOf('b'))
    await spool.adopt()
    expect(spool.rows).toBe(0)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await spool.adopt()
    expect(textOf(await spool.first(9, megabyte))).toEqual(['a'])
  })

  it('that ended in order with rows left is taken over too', async () => {
    const first = spoolOf()
    await first.append(rowsOf('a'))
    await first.close()
    const second = spoolOf()
    await second.adopt()
    expect(textOf(await second.first(9, megabyte))).toEqual(['a'])
  })

  it('is not taken over by another installation; by one whose master key was rotated it is', async () => {
    spoolAndDie('a')
    const stranger = spoolOf(['00000000'])
    await stranger.adopt()
    expect(stranger.rows).toBe(0)
    const rotated = spoolOf(['00000000', label])
    await rotated.adopt()
    expect(rotated.rows).toBe(1)
  })

  it('that is damaged is set aside and told of', async () => {
    await mkdir(join(dataDir, 'spool'))
    await writeFile(join(dataDir, 'spool', `${label}-00.sqlite`), 'no database at all, but long enough to be looked at')
    const spool = spoolOf()
    expect(await spool.adopt()).toEqual([expect.stringContaining('not a database')])
    expect(await files()).toEqual([`${label}-00.sqlite.damaged`])
    expect(await spool.adopt()).toEqual([])
  })
})

describe('damage within a file', () => {
  /** A file with a long row in the middle, one page of which is zeroed. */
  async function damagedFile(spoil: (pages: Buffer[]) => void): Promise<void> {
    spoolAndDie('a', 'b', 'x'.repeat(40_000), 'd')
    await spoilFile(spoil)
  }

  async function spoilFile(spoil: (pages: Buffer[]) => void): Promise<void> {
    const [name = ''] = await files()
    const path = join(dataDir, 'spool', name)
    const database = new DatabaseSync(path)
    database.exec('pragma journal_mode = delete')
    database.close()
    const bytes = await readFile(path)
    spoil(Array.from({ length: bytes.length / 4096 }, (_, page) => bytes.subarray(page * 4096, (page + 1) * 4096)))
    await writeFile(path, bytes)
  }

  it('costs the rows that lie there, and no other', async () => {
    await damagedFile((pages) => pages.find((page) => page.subarray(4).every((byte) => byte === 0x78))?.fill(0))
    const spool = spoolOf()
    expect(await spool.adopt()).toEqual([])
    await spool.append(rowsOf('e'))
    expect(spool.rows).toBe(5)
    const first = await spool.first(3, megabyte)
    expect([textOf(first), first.unreadable]).toEqual([['a', 'b', 'd'], 1])
    await spool.removeFirst()
    expect(spool.rows).toBe(1)
    expect(textOf(await spool.first(9, megabyte))).toEqual(['e'])
    await spool.removeFirst()
    expect(spool.rows).toBe(0)
    // Somebody may get more out of it.
    expect((await files()).filter((file) => !file.endsWith('.sqlite.damaged'))).toEqual([])
  })

  it('costs the rows of a page, not those before and behind it', async () => {
    const first = spoolOf()
    await first.append(Array.from({ length: 2000 }, (_, index) => Buffer.from(String(index).padEnd(1000))))
    await first.close()
    await spoilFile((pages) => pages[200]?.fill(1, 100, 4000))
    const spool = spoolOf()
    expect(await spool.adopt()).toEqual([])
    expect(spool.rows).toBe(2000)
    const found: string[] = []
    let unreadable = 0
    while (spool.rows > 0) {
      const batch = await spool.first(500, megabyte)
      found.push(...textOf(batch).map((text) => text.trim()))
      unreadable += batch.unreadable
      await spool.removeFirst()
    }
    expect(found.length + unreadable).toBe(2000)
    expect(unreadable).toBeLessThan(10)
    expect([found[0], found.at(-1)]).toEqual(['0', '1999'])
  })

  it('that leaves no row to be found has the file set aside, and its rows counted; those of others are not forgotten with it', async () => {
    const first = spoolOf()
    // More than SQLite keeps in memory.
    await first.append(Array.from({ length: 1500 }, () => Buffer.alloc(3000)))
    const [name = ''] = await files()
    await first.close()
    spoolAndDie('d')
    const spool = spoolOf()
    await spool.adopt()
    await spool.append(rowsOf('e'))
    // What is given, and not forgotten because the database did not take it.
    expect((await spool.first(2000, 9 * megabyte)).rows).toHaveLength(1500)
    const handle = await openFile(join(dataDir, 'spool', name), 'r+')
    await handle.write(Buffer.alloc((await handle.stat()).size, 1))
    await handle.close()
    expect(await spool.first(9, megabyte)).toMatchObject({ rows: [], unreadable: 1500 })
    await spool.removeFirst()
    expect(textOf(await spool.first(9, megabyte))).toEqual(['d'])
    await spool.removeFirst()
    expect(textOf(await spool.first(9, megabyte))).toEqual(['e'])
    expect((await files()).filter((file) => file.includes('.damaged'))).not.toEqual([])
  })
})
