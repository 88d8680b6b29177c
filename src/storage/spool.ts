import { chmod, mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { newUuid } from '../domain/ids.ts'
import { makeDataDir, unlessCode } from './data-dir.ts'
import type { SpoolAnswer, SpoolRequest } from './spool/worker.ts'

/** The disk did not take or give rows. The message is the reason, without a row's content. */
export class SpoolError extends Error {
  override readonly name = 'SpoolError'
}

export interface SpoolOptions {
  /** DATA_DIR: the files lie in its folder `spool`, made when first needed. */
  readonly dataDir: string
  /**
   * Names of the installation, the current one first, 8 hexadecimal digits each: rows of another Relevo that shares the folder
   * must not get into this one's database.
   */
  readonly labels: readonly string[]
}

/** A disk that takes longer counts as failed, ms. What it still does then is repeated: every write is repeatable. */
const answerMs = 5000

type Ask = SpoolRequest extends infer R ? (R extends { readonly id: number } ? Omit<R, 'id'> : never) : never

/**
 * Rows on this machine's disk, in order, while the database does not take them (docs/adr/0002-spool.md). A thread of its own
 * writes them, because an fsync may take as long as it likes; it starts when first needed.
 */
export class Spool {
  readonly #folder: string
  readonly #dataDir: string
  readonly #labels: readonly string[]
  readonly #pending = new Map<number, PromiseWithResolvers<SpoolAnswer>>()
  #worker: Worker | null = null
  #ownFile = ''
  #hasFolder = false
  #asked = 0
  #lastAppend = 0
  #size = { rows: 0, bytes: 0 }

  constructor({ dataDir, labels }: SpoolOptions) {
    this.#dataDir = dataDir
    this.#folder = join(resolve(dataDir), 'spool')
    this.#labels = labels
  }

  /** Rows on the disk: of this process, and of dead ones that it took over. */
  get rows(): number {
    return this.#size.rows
  }

  get bytes(): number {
    return this.#size.bytes
  }

  /** Makes the thread and the file ready, for the moment they are needed. Throws SpoolError. */
  async open(): Promise<void> {
    if (!this.#hasFolder) await this.#makeFolder()
    await this.#ask({ kind: 'open' })
  }

  /**
   * Takes over the spools of processes that died. Returns one line for each file that gives no rows; a damaged one is set aside.
   * Throws SpoolError.
   */
  async adopt(): Promise<readonly string[]> {
    const names = await readdir(this.#folder).catch(unlessCode('ENOENT')).catch(asSpoolError)
    const found = (names ?? []).filter((name) => this.#isAnothers(name)).toSorted(byTime)
    if (found.length === 0) return []
    const { faults } = await this.#ask({ kind: 'adopt', paths: found.map((name) => join(this.#folder, name)) })
    return faults
  }

  /** All rows or none; on the disk once it resolves. One at a time. Throws SpoolError, also while the one before is not answered, though it was given up. */
  async append(rows: readonly Uint8Array[]): Promise<void> {
    if (!this.#hasFolder) await this.#makeFolder()
    // The disk hangs: the same rows would gather before its thread again and again.
    if (this.#pending.has(this.#lastAppend)) throw new SpoolError('the disk does not answer')
    try {
      const answered = this.#ask({ kind: 'append', rows })
      this.#lastAppend = this.#asked
      await answered
    } catch (error) {
      // Somebody may have removed it.
      this.#hasFolder = false
      throw error
    }
  }

  /** The oldest rows: at most `limit`, and no more than one past `maxBytes`; and how many among them the disk does not give any more. Throws SpoolError. */
  async first(limit: number, maxBytes: number): Promise<Pick<SpoolAnswer, 'rows' | 'unreadable'>> {
    return await this.#ask({ kind: 'first', limit, maxBytes })
  }

  /** Forgets what the last `first` gave. Throws SpoolError. */
  async removeFirst(): Promise<void> {
    await this.#ask({ kind: 'remove' })
  }

  /** Rows that are left wait for the next process. Throws SpoolError. */
  async close(): Promise<void> {
    if (this.#worker !== null) await this.#ask({ kind: 'close' })
    this.#worker = null
  }

  #isAnothers(name: string): boolean {
    const [, label] = /^([0-9a-f]{8})-[0-9a-f-]+\.sqlite$/.exec(name) ?? []
    return label !== undefined && this.#labels.includes(label) && name !== this.#ownFile
  }

  async #makeFolder(): Promise<void> {
    try {
      await makeDataDir(this.#dataDir)
      if ((await mkdir(this.#folder, { recursive: true, mode: 0o700 })) !== undefined) await chmod(this.#folder, 0o700)
      this.#hasFolder = true
    } catch (error) {
      asSpoolError(error)
    }
  }

  async #ask(request: Ask): Promise<SpoolAnswer> {
    this.#worker ??= this.#start()
    const id = ++this.#asked
    const pending = Promise.withResolvers<SpoolAnswer>()
    this.#pending.set(id, pending)
    this.#worker.postMessage({ ...request, id })
    const timer = setTimeout(() => pending.reject(new SpoolError('the disk does not answer')), answerMs)
    const answer = await pending.promise.finally(() => clearTimeout(timer))
    if (answer.failure !== null) throw new SpoolError(answer.failure)
    return answer
  }

  #start(): Worker {
    // A new name each time: the file of a thread that ended is taken over like a dead process's.
    this.#ownFile = `${this.#labels[0]}-${newUuid()}.sqlite`
    const workerData = { path: join(this.#folder, this.#ownFile) }
    // Flags of the process, such as -e or those of a test runner, are not for it.
    const options = { workerData, name: 'spool', execArgv: [] }
    const worker = new Worker(new URL('./spool/worker.ts', import.meta.url), options)
    // What must be awaited is awaited in close().
    worker.unref()
    worker.on('message', (answer: SpoolAnswer) => {
      this.#size = answer.size
      this.#pending.get(answer.id)?.resolve(answer)
      this.#pending.delete(answer.id)
    })
    const ended = () => {
      if (this.#worker === worker) this.#worker = null
      for (const pending of this.#pending.values()) pending.reject(new SpoolError('its thread ended'))
      this.#pending.clear()
    }
    worker.on('error', ended).on('exit', ended)
    return worker
  }
}

/** Of the folder: the message names it, and no row. */
function asSpoolError(error: unknown): never {
  throw new SpoolError(error instanceof Error ? error.message : 'the folder cannot be used')
}

/** By the time in the UUIDv7 of their names, whatever their label. */
function byTime(a: string, b: string): number {
  return a.slice(9) < b.slice(9) ? -1 : 1
}
