import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { apart, timeByOwner } from '../cpu-profile.ts'
import { startLoaded, withSurroundings } from '../loaded-relevo.ts'
import { type Part, share, whole } from '../part.ts'

/** Steps of the story (`src/relay/exchange.ts`) by whose code they are, the first that matches. What is shared by several steps has a line of its own. */
const steps: readonly (readonly [step: string, owners: RegExp])[] = [
  ['RSA decryption', /^RSA/],
  ['garbage collector', /^garbage/],
  [
    'HTTP from Meta: server, framework, raw body',
    /^(fastify|find-my-way|@fastify|fast-|avvio|src\/server\.ts|src\/relay\/(exchange-route|raw-body)|node:_http_(server|incoming|outgoing))/,
  ],
  [
    'signature, opening and sealing beside RSA',
    /^(src\/crypto\/(meta-sig|flow-cipher|base64|digest|json)|src\/relay\/repeats|node:internal\/crypto)/,
  ],
  ['reading the request, choosing, envelope, reply', /^(src\/domain|zod)/],
  ['enrichment: sessions', /^(src\/relay\/sessions|src\/storage\/(sessions|arrays))/],
  [
    'forward: signing, breaker, webhook call',
    /^(src\/crypto\/(webhook|sealed)|src\/delivery|src\/egress|src\/relay\/(forward|breaker)|undici)/,
  ],
  [
    'durable row: recorder',
    /^(src\/relay\/(recorder|row|unwritten|ending)|src\/storage\/(exchange|json-columns|partitions|spool))/,
  ],
  ['database driver, of sessions and rows', /^(postgres$|src\/storage|drizzle-orm)/],
  [
    'log line, metrics, traces',
    /^(src\/ops|pino|sonic-boom|prom-client|src\/relay\/(exchange-line|exchange-trace|stopwatch)|@opentelemetry)/,
  ],
  ['the story itself, ledger, admission, directory', /^src\/(relay|app)/],
  ['events, queue, maintenance', /^(src\/(events|maintenance)|pg-boss)/],
  ['Node: streams, sockets, timers, of all steps', /^node:/],
  ['outside JavaScript: system calls, event loop, HTTP parsing', /^outside/],
  ['anything else', /^/],
]

const shownOwners = 24

/** (d): a CPU profile of the relay's process at 16 at once, by step, and by file and package. */
export const breakdown: Part = async function* ({ warmUp, exchanges }) {
  const folder = await mkdtemp(join(tmpdir(), 'relevo-profile-'))
  try {
    const owners = await withSurroundings(async (surroundings) => {
      const relevo = await startLoaded(surroundings, { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` })
      await relevo.play(warmUp, 16)
      const from = nowMicroseconds()
      await relevo.play(exchanges, 16)
      const until = nowMicroseconds()
      await relevo.end()
      return timeByOwner(folder, from, until)
    })
    yield* findingsOf(owners, exchanges)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const nowMicroseconds = () => Number(process.hrtime.bigint() / 1000n)

function* findingsOf(owners: ReadonlyMap<string, number>, exchanges: number) {
  const total = [...owners.values()].reduce((sum, spent) => sum + spent, 0)
  const rsa = owners.get(apart.rsa) ?? Number.NaN
  const figure = (spent: number) =>
    `${(spent / exchanges).toFixed(1)} µs, ${share(spent / total)}, ${((spent / rsa) * 100).toFixed(1)} % of RSA`
  yield [`all, with the profiler’s own cost, of ${whole(exchanges)}`, figure(total)] as const
  const left = new Map(owners)
  for (const [step, pattern] of steps) {
    let spent = 0
    for (const [owner, of] of left) {
      if (!pattern.test(owner)) continue
      spent += of
      left.delete(owner)
    }
    yield [step, figure(spent)] as const
  }
  const first = [...owners].sort(([, a], [, b]) => b - a).slice(0, shownOwners)
  for (const [owner, spent] of first) yield [`by owner: ${owner}`, figure(spent)] as const
}
