import { fileURLToPath } from 'node:url'
import { eventually } from '../support/eventually.ts'
import type { RelevoProcess } from '../support/process.ts'
import type { InsideView, Peer } from './inside-view.ts'

/** What a Relevo that is to be looked into starts with. `peers`: URLs by who listens there. */
export const insideEnvironment = (peers: Partial<Record<Peer, string>>): Record<string, string> => ({
  NODE_OPTIONS: `--disable-warning=ExperimentalWarning --import ${fileURLToPath(new URL('inside-view.ts', import.meta.url))}`,
  INSIDE_PEERS: JSON.stringify(Object.entries(peers).map(([peer, url]) => [Number(new URL(url).port), peer])),
})

/** A look into the process, and when by our clock. */
export interface Sample extends InsideView {
  readonly askedAt: number
}

/** `walksHeap`: counts objects too, which takes long. */
export async function lookInside({ child, output }: RelevoProcess, walksHeap = false): Promise<Sample> {
  const printed = linesOf(output()).length
  const askedAt = performance.now()
  child.kill(walksHeap ? 'SIGIO' : 'SIGWINCH')
  const lookAtOutput = () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`relevo ended: ${output().slice(-2000)}`)
    return linesOf(output())[printed]
  }
  const line = await eventually(lookAtOutput, { timeoutMs: 30_000, everyMs: 5 })
  return { ...(JSON.parse(line.slice(prefix.length)) as InsideView), askedAt }
}

/** What a process printed besides: whatever its log has, warnings of Node, errors nobody handled. */
export function complaintsIn(output: string): string[] {
  return output
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(prefix) && !line.startsWith('listening on '))
}

const prefix = 'inside '
const linesOf = (output: string) => output.split('\n').filter((line) => line.startsWith(prefix) && line.endsWith('}'))
