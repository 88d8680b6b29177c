import type { KeyObject } from 'node:crypto'
import { Worker } from 'node:worker_threads'
import { FlowKeyUnreadable } from '../crypto/flow-key.ts'
import { ApiError } from '../domain/errors.ts'
import type { KeyRead, KeyToRead } from './flow-key-reader-thread.ts'

/** Reads at once, the one under way included. The last of them waits for 8 s at the worst. */
const mostReads = 16

/**
 * Reads private keys whose passphrase takes work to try, up to half a second of it (crypto/flow-key.ts), on a thread: exchanges go on
 * meanwhile. One after the other, so that imports take one core at the most. The thread lives for as long as there are keys to read.
 */
export class FlowKeyReader {
  /** In the order in which the thread was asked, which is that of its answers. */
  readonly #reads: PromiseWithResolvers<KeyRead>[] = []
  #thread: Worker | null = null

  /** As readPrivateKey. Throws FlowKeyUnreadable, or ApiError `rate_limited` where too many wait. */
  async read(pem: string, passphrase: string): Promise<KeyObject> {
    if (this.#reads.length >= mostReads) {
      throw new ApiError('rate_limited', 'too many encrypted private keys are being imported; try again')
    }
    const read = Promise.withResolvers<KeyRead>()
    this.#reads.push(read)
    this.#thread ??= this.#start()
    this.#thread.postMessage({ pem, passphrase } satisfies KeyToRead)
    const { flowKey, unreadable } = await read.promise
    if (flowKey === null) throw new FlowKeyUnreadable(unreadable)
    return flowKey
  }

  #start(): Worker {
    // Flags of the process, such as -e or those of a test runner, are not for it.
    const options = { name: 'flow keys', execArgv: [] }
    const thread = new Worker(new URL('./flow-key-reader-thread.ts', import.meta.url), options)
    const lost = (error: Error) => {
      if (this.#thread !== thread) return
      this.#thread = null
      for (const read of this.#reads.splice(0)) read.reject(error)
    }
    thread.on('message', (answer: KeyRead) => {
      this.#reads.shift()?.resolve(answer)
      if (this.#reads.length > 0) return
      this.#thread = null
      void thread.terminate()
    })
    thread.on('error', lost)
    thread.on('exit', () => lost(new Error('the thread that reads private keys ended')))
    return thread
  }
}
