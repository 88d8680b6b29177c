import { execFileSync } from 'node:child_process'
import { startEmbedded } from '../../src/storage/embedded.ts'
import { freshDataDir } from './embedded.ts'

/** A new DATA_DIR whose cluster was made and stopped. */
export async function plantCluster(): Promise<string> {
  const dataDir = await freshDataDir()
  await (await startEmbedded({ dataDir })).stop()
  return dataDir
}

/** `fs.cp` keeps no owners. */
export function copyPlanted(planted: string, dataDir: string): void {
  execFileSync('cp', ['-a', `${planted}/.`, dataDir])
}
