import type { KeyObject } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { FlowKeyUnreadable, readPrivateKey } from '../crypto/flow-key.ts'

export interface KeyToRead {
  readonly pem: string
  readonly passphrase: string
}

/** One for each key, in order. */
export type KeyRead =
  | { readonly flowKey: KeyObject; readonly unreadable: null }
  | { readonly flowKey: null; readonly unreadable: string }

parentPort?.on('message', (asked: KeyToRead) => parentPort?.postMessage(read(asked)))

function read({ pem, passphrase }: KeyToRead): KeyRead {
  try {
    return { flowKey: readPrivateKey(pem, passphrase), unreadable: null }
  } catch (error) {
    if (error instanceof FlowKeyUnreadable) return { flowKey: null, unreadable: error.message }
    throw error
  }
}
