import { existsSync, renameSync } from 'node:fs'
import { basename } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { isDamaged, type SpooledBatch, SpoolFile } from './file.ts'

/** What the thread is asked, one after the other. */
export type SpoolRequest = { readonly id: number } & (
  | { readonly kind: 'open' }
  | { readonly kind: 'adopt'; readonly paths: readonly string[] }
  | { readonly kind: 'append'; readonly rows: readonly Uint8Array[] }
  | { readonly kind: 'first'; readonly limit: number; readonly maxBytes: number }
  | { readonly kind: 'remove' }
  | { readonly kind: 'close' }
)

export interface SpoolAnswer {
  readonly id: number
  /** Null: it was done. */
  readonly failure: string | null
  /** For `first`: the oldest rows. */
  readonly rows: readonly Uint8Array[]
  /** For `first`: how many among them are on damaged pages, or in a file that was set aside for such. */
  readonly unreadable: number
  /** For `adopt`: one line for each file that gives no rows. */
  readonly faults: readonly string[]
  /** All files together, after it. */
  readonly size: { readonly rows: number; readonly bytes: number }
}

/** `path`: of this process's own file. */
const { path } = workerData as { readonly path: string }
/** Spools of dead processes, the oldest first. */
const left: SpoolFile[] = []
let own: SpoolFile | null = null
/** What `first` gave and `remove` will forget. */
let given: { readonly file: SpoolFile; readonly batch: SpooledBatch } | null = null
let renewals = 0

parentPort?.on('message', (request: SpoolRequest) => {
  let failure: string | null = null
  let done: Done = {}
  try {
    done = carryOut(request)
  } catch (error) {
    failure = describe(error)
  }
  const files = own === null ? left : [...left, own]
  const size = { rows: 0, bytes: 0 }
  for (const file of files) {
    size.rows += file.rows
    size.bytes += file.bytes
  }
  const answer: SpoolAnswer = { id: request.id, failure, rows: [], unreadable: 0, faults: [], ...done, size }
  parentPort?.postMessage(answer)
  if (request.kind === 'close') parentPort?.close()
})

type Done = Partial<Pick<SpoolAnswer, 'rows' | 'unreadable' | 'faults'>>

function carryOut(request: SpoolRequest): Done {
  switch (request.kind) {
    case 'open':
      openOwn()
      return {}
    case 'adopt':
      return { faults: request.paths.map(adopt).filter((fault) => fault !== null) }
    case 'append':
      openOwn().append(request.rows)
      return {}
    case 'first':
      return first(request.limit, request.maxBytes)
    case 'remove':
      forget()
      return {}
    case 'close':
      for (const file of left.splice(0)) file.close()
      own?.close()
      own = null
      return {}
  }
}

function openOwn(): SpoolFile {
  while (own === null)
    own = SpoolFile.create(renewals++ === 0 ? path : path.replace(/\.sqlite$/, `-${renewals}.sqlite`))
  return own
}

/** Null, or why the file gives no rows. One that is damaged is set aside under another name. */
function adopt(found: string): string | null {
  if (left.some((file) => file.path === found) || own?.path === found) return null
  try {
    const file = SpoolFile.adopt(found)
    if (file?.rows === 0) file.close()
    else if (file !== null) left.push(file)
    return null
  } catch (error) {
    if (isDamaged(error)) setAside(found)
    return `${basename(found)}: ${describe(error)}`
  }
}

function setAside(damaged: string): void {
  for (const suffix of ['', '-wal']) {
    if (existsSync(damaged + suffix)) renameSync(damaged + suffix, `${damaged}.damaged${suffix}`)
  }
}

function first(limit: number, maxBytes: number): Done {
  given = null
  const file = left[0] ?? own
  if (file === null || file.rows === 0) return {}
  try {
    given = { file, batch: file.first(limit, maxBytes) }
    return given.batch
  } catch (error) {
    if (!isDamaged(error)) throw error
    // None of its rows is left to be read: it must not keep back those of others.
    abandon(file)
    return { unreadable: file.rows }
  }
}

/** Somebody may get more out of it: docs/operations.md, "Spool". */
function abandon(file: SpoolFile): void {
  letGo(file)
  file.abandon()
  setAside(file.path)
}

function letGo(file: SpoolFile): void {
  if (file === own) own = null
  else left.shift()
}

function forget(): void {
  if (given === null) return
  const { file, batch } = given
  given = null
  file.remove(batch)
  if (file.rows > 0) return
  if (file.hasDamage) abandon(file)
  else {
    // Its space goes back to the disk; the next outage makes a new one.
    letGo(file)
    file.close()
  }
}

/** SQLite's words name no row. */
function describe(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
}
