import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects all that can be, now, in a process that was not started with `--expose-gc` too. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  const collect = globalThis.gc ?? (runInNewContext('gc') as () => void)
  collect()
}
