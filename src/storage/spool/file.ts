import { closeSync, fsyncSync, openSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'

/** Rows as they lie in a file: `upTo` names the last of them for {@link SpoolFile.remove}. */
export interface SpooledBatch {
  readonly upTo: number
  readonly rows: readonly Uint8Array[]
  /** Rows among them whose pages are damaged. */
  readonly unreadable: number
}

// The lock of exclusive mode lies on the open file: the kernel lets go of it when the process dies, however it dies, and WAL then
// needs no shared memory. FULL: a commit is on the disk when it returns.
const settings = 'pragma locking_mode = exclusive; pragma journal_mode = wal; pragma synchronous = full;'
const table =
  'create table if not exists spooled (seq integer primary key autoincrement, row blob not null) strict; begin immediate; commit;'

/**
 * Rows in order in one SQLite file, held by one process. Synchronous: for a thread of its own. Every method may throw what
 * node:sqlite throws.
 */
export class SpoolFile {
  readonly path: string
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #select: StatementSync
  readonly #one: StatementSync
  readonly #delete: StatementSync
  /** Rows up to here were handed on. Kept apart from the table, because a full disk refuses a deletion too. */
  #removed: number
  #hasDamage = false
  #lastSeq: number
  #rows: number
  #bytes: number

  /** `db`: open and locked. */
  constructor(path: string, db: DatabaseSync) {
    this.path = path
    this.#db = db
    this.#insert = db.prepare('insert into spooled (row) values (?)')
    this.#select = db.prepare('select seq, row from spooled where seq > ? order by seq limit ?')
    this.#one = db.prepare('select row from spooled where seq = ?')
    this.#delete = db.prepare('delete from spooled where seq <= ?')
    const { rows, bytes, first, last } = countRows(db)
    this.#removed = Math.max(0, first - 1)
    this.#rows = rows
    this.#bytes = bytes
    this.#lastSeq = last
  }

  /** A new file, mode 0600. Null when another process took it for a dead one's before it was locked: try another name. */
  static create(path: string): SpoolFile | null {
    closeSync(openSync(path, 'wx', 0o600))
    const file = lockOrRemove(path)
    const folder = openSync(dirname(path), 'r')
    fsyncSync(folder)
    closeSync(folder)
    return file
  }

  /** Takes over the file of a process that died. Null: its process lives, or it is gone. Throws when it is not a spool. */
  static adopt(path: string): SpoolFile | null {
    return lock(path)
  }

  get rows(): number {
    return this.#rows
  }

  /** Of the rows, not of the file; 0 where pages are damaged. */
  get bytes(): number {
    return Math.max(0, this.#bytes)
  }

  /** Whether rows are in it that could not be read. */
  get hasDamage(): boolean {
    return this.#hasDamage
  }

  /** All or none; on the disk when it returns. */
  append(rows: readonly Uint8Array[]): void {
    this.#db.exec('begin immediate')
    let last = 0
    try {
      for (const row of rows) last = Number(this.#insert.run(row).lastInsertRowid)
      this.#db.exec('commit')
    } catch (error) {
      // A full disk may have ended the transaction already.
      if (this.#db.isTransaction) this.#db.exec('rollback')
      throw error
    }
    this.#lastSeq = last
    this.#rows += rows.length
    for (const row of rows) this.#bytes += row.byteLength
  }

  /** The oldest rows: at most `limit`, and no more than one past `maxBytes`. */
  first(limit: number, maxBytes: number): SpooledBatch {
    const rows: Uint8Array[] = []
    let upTo = this.#removed
    let bytes = 0
    try {
      for (const { seq, row } of this.#select.iterate(this.#removed, limit)) {
        rows.push(row as Uint8Array)
        upTo = Number(seq)
        bytes += (row as Uint8Array).byteLength
        if (bytes >= maxBytes) break
      }
    } catch (error) {
      if (!isDamaged(error)) throw error
      return this.#readable(limit, maxBytes, error)
    }
    return { upTo, rows, unreadable: 0 }
  }

  /** The same row by row, by their numbers, which have no gaps: past a damaged page others are found all the same. Throws where none is left. */
  #readable(limit: number, maxBytes: number, damage: unknown): SpooledBatch {
    const rows: Uint8Array[] = []
    let upTo = this.#removed
    let bytes = 0
    let unreadable = 0
    while (rows.length < limit && bytes < maxBytes && upTo < this.#lastSeq) {
      upTo++
      try {
        const row = this.#one.get(upTo)?.row as Uint8Array | undefined
        if (row === undefined) unreadable++
        else rows.push(row)
        bytes += row?.byteLength ?? 0
      } catch (error) {
        if (!isDamaged(error)) throw error
        unreadable++
      }
    }
    if (rows.length === 0) throw damage
    this.#hasDamage ||= unreadable > 0
    return { upTo, rows, unreadable }
  }

  /** Forgets the rows of a batch. */
  remove({ upTo, rows, unreadable }: SpooledBatch): void {
    this.#removed = upTo
    this.#rows = upTo >= this.#lastSeq ? 0 : this.#rows - rows.length - unreadable
    for (const row of rows) this.#bytes -= row.byteLength
    if (this.#rows === 0) return
    try {
      this.#delete.run(upTo)
    } catch {
      // Rows that come out once more after a restart are written over themselves: every write is repeatable.
    }
  }

  /** Closes it with whatever is in it. */
  abandon(): void {
    this.#db.close()
  }

  /** An empty file is removed; one with rows waits for the next process. */
  close(): void {
    // While it is locked: afterwards another process may have taken it.
    if (this.#rows === 0) for (const suffix of ['', '-wal']) rmSync(this.path + suffix, { force: true })
    this.#db.close()
  }
}

/** With a damaged page among them by their numbers, which have no gaps. */
function countRows(db: DatabaseSync): { rows: number; bytes: number; first: number; last: number } {
  const seqOf = (sql: string) => Number(db.prepare(sql).get()?.seq ?? 0)
  const first = seqOf('select seq from spooled order by seq limit 1')
  const last = seqOf('select seq from spooled order by seq desc limit 1')
  try {
    const found = db.prepare('select count(*) as rows, coalesce(sum(length(row)), 0) as bytes from spooled').get()
    return { rows: Number(found?.rows), bytes: Number(found?.bytes), first, last }
  } catch (error) {
    if (!isDamaged(error)) throw error
    return { rows: last - first + 1, bytes: 0, first, last }
  }
}

/** For a file just made: on a full disk each try would leave another behind. */
function lockOrRemove(path: string): SpoolFile | null {
  try {
    return lock(path)
  } catch (error) {
    for (const name of [path, `${path}-wal`, `${path}-journal`]) rmSync(name, { force: true })
    throw error
  }
}

function lock(path: string): SpoolFile | null {
  const inode = inodeOf(path)
  if (inode === null) return null
  let db: DatabaseSync | null = null
  try {
    // mode=rw: never makes a file that was removed meanwhile.
    db = new DatabaseSync(new URL(`${pathToFileURL(path).href}?mode=rw`), { timeout: 0 })
    db.exec(settings + table)
    if (inodeOf(path) === inode) return new SpoolFile(path, db)
    db.close()
    return null
  } catch (error) {
    db?.close()
    const code = codeOf(error)
    if (code === busy || (code === cannotOpen && inodeOf(path) === null)) return null
    throw error
  }
}

// SQLite's primary result codes; the upper bits say more.
const busy = 5
const corrupt = 11
const cannotOpen = 14
const notADatabase = 26

/** Whether an error says that the file is no database any more. */
export function isDamaged(error: unknown): boolean {
  const code = codeOf(error)
  return code === corrupt || code === notADatabase
}

function codeOf(error: unknown): number | null {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : null
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null
}
