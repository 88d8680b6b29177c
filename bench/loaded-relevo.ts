import { join } from 'node:path'
import { createChildren } from '../src/demo/children.ts'
import { migrate } from '../src/migrate.ts'
import { writeMessage } from '../src/simulator/message.ts'
import { newFlowToken } from '../src/simulator/simulate.ts'
import { startEmbedded } from '../src/storage/embedded.ts'
import { pin } from '../test/durability/cores.ts'
import type { Answered } from '../test/durability/overload-rig.ts'
import { registerWorkspaces, type Serving, serve, type Workspace } from '../test/durability/serving.ts'
import { freshDataDir, removeEmbedded } from '../test/support/embedded.ts'
import { collectGarbage } from '../test/support/garbage.ts'
import { endProcesses } from '../test/support/process.ts'
import { cpuMsOf, treeOf } from './process-cpu.ts'

const root = join(import.meta.dirname, '..')

/** What a relay is measured with: a database and a tenant that answers at once. */
export interface Surroundings {
  readonly databaseUrl: string
  readonly tenantUrl: string
}

/** Database, tenant and load on the second core, on plain sockets: cheap enough that the relay's core is the one that is full. */
export async function withSurroundings<T>(measure: (surroundings: Surroundings) => Promise<T>): Promise<T> {
  pin(process.pid, 1)
  const dataDir = await freshDataDir()
  const server = await startEmbedded({ dataDir })
  const children = createChildren(root, new AbortController().signal)
  try {
    await migrate(server.url)
    const tenantUrl = await children.start('tenant', ['test/durability/wire-tenant.ts'], {})
    return await measure({ databaseUrl: server.url, tenantUrl })
  } finally {
    endProcesses()
    await children.stop()
    await server.stop()
    await removeEmbedded(dataDir)
  }
}

/** A Relevo on the first core, however many processes it is, with tenants that load can be spread over. */
export interface LoadedRelevo extends Surroundings {
  readonly serving: Serving
  readonly workspaces: readonly Workspace[]
  /** One exchange of the next workspace; of those that were sealed ahead while there are some. */
  call(): Promise<Answered>
  /** Seals so many before they are called: load shares its core with tenant and database, and that was a third of what it took. */
  sealAhead(count: number): void
  /** Exchanges, so many at once. Throws when an answer is not the tenant's. */
  play(count: number, atOnce: number): Promise<void>
  /** Of all its processes so far, user and system, ms. */
  cpuMs(): number
  /** Ends it in order, so that what Node writes at the end is written. */
  end(): Promise<void>
}

/** `environment`: settings besides, and what Node itself reads. One webhook alone would meet its bound of exchanges. */
export async function startLoaded(
  surroundings: Surroundings,
  environment: Record<string, string> = {},
  tenants = 4,
): Promise<LoadedRelevo> {
  const serving = await serve(surroundings.databaseUrl, { LOG_LEVEL: 'info', ...environment })
  const processes = treeOf(serving.relevo.pid)
  for (const pid of processes) pin(pid, 0)
  const workspaces = await registerWorkspaces(serving, tenants, { url: surroundings.tenantUrl })
  let calls = 0
  const next = () => {
    const { meta } = workspaces[calls++ % workspaces.length] as Workspace
    return { meta, message: writeMessage({ name: 'open', action: 'INIT' }, newFlowToken()) }
  }
  const ahead: ReturnType<typeof next>[] = []
  const call = async (): Promise<Answered> => {
    const { meta, message } = ahead.pop() ?? next()
    const { kind, problem } = await meta.exchange(message)
    return kind === 'screen' ? 'replied' : { problem: problem ?? kind }
  }
  return {
    ...surroundings,
    serving,
    workspaces,
    call,
    sealAhead(count) {
      for (let at = 0; at < count; at++) {
        const one = next()
        one.meta.sealAhead(one.message)
        ahead.push(one)
      }
      // Else in the midst of the load, which then stands still.
      collectGarbage()
    },
    play: (count, atOnce) => playCalls(call, count, atOnce),
    cpuMs: () => processes.reduce((sum, pid) => sum + cpuMsOf(pid), 0),
    async end() {
      for (const { meta } of workspaces) meta.close()
      const code = await serving.end()
      if (code !== 0) throw new Error(`relevo ended with ${code}: ${serving.relevo.output().slice(-2000)}`)
    },
  }
}

async function playCalls(call: () => Promise<Answered>, count: number, atOnce: number): Promise<void> {
  let left = count
  const caller = async () => {
    while (left-- > 0) {
      const answered = await call()
      if (answered !== 'replied') throw new Error(`an answer was wrong: ${JSON.stringify(answered)}`)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, caller))
}
