import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Children, createChildren } from './demo/children.ts'
import { DemoFailed, describe } from './demo/failed.ts'
import { type Api, type Person, people, type Registered, register, text } from './demo/registration.ts'
import { openFlow, personalisedOffer, ping } from './simulator/journey.ts'
import { isObject, parseJson } from './simulator/json.ts'
import { createMetaClient } from './simulator/meta-client.ts'
import { type PlayedStep, playScript } from './simulator/play.ts'
import { formatMilliseconds, formatTable } from './simulator/report.ts'
import type { Step } from './simulator/script.ts'

const root = join(import.meta.dirname, '..')
const example = join(root, 'examples', 'personalised-offer')
const outcomeDeadlineMs = 15_000
// Starting and playing; with the 20 s that stopping may take, under 90 s.
const demoDeadlineMs = 68_000

type Out = (line: string) => void
type Demo = { folder: string; children: Children; signal: AbortSignal; out: Out; keep: boolean }
type Expected = { person: Person; step: Step; outcome: string }
type Played = Expected & { played: PlayedStep }

const plan: readonly Expected[] = [
  { person: 'first', step: ping, outcome: 'answered_locally' },
  ...personalisedOffer.map((step): Expected => ({ person: 'first', step, outcome: 'replied' })),
  {
    person: 'second',
    step: { name: 'go back', action: 'BACK', screen: 'OFFER', expectation: { screen: 'OPTIONS' } },
    outcome: 'replied',
  },
  {
    person: 'second',
    step: { name: 'report an error', action: 'error', screen: 'OPTIONS' },
    outcome: 'answered_locally',
  },
  { person: 'slow', step: { ...openFlow, expectation: { acknowledged: true } }, outcome: 'timeout' },
]

/**
 * Starts Relevo on a fresh embedded database and two tenants, one of them slow; registers them over the API; plays Meta; shows
 * what came of each step (contract §9). Resolves with the exit code: 0 when every step went as it should and Relevo ended with
 * 0, 130 after a signal, else 1. With `keep` all goes on running until a signal. Nothing that it started outlives it.
 */
export async function runDemo({ keep, out }: { keep: boolean; out: Out }): Promise<number> {
  const stop = new AbortController()
  const interruption = new DemoFailed('interrupted')
  const interrupt = () => stop.abort(interruption)
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of signals) process.on(name, interrupt)
  const timer = setTimeout(() => stop.abort(new DemoFailed(`not done in ${demoDeadlineMs} ms`)), demoDeadlineMs)
  const children = createChildren(root, stop.signal)
  const folder = await mkdtemp(join(tmpdir(), 'relevo-demo-'))
  let exitCode = 1
  try {
    const allRight = await demonstrate({ folder, children, signal: stop.signal, out, keep })
    clearTimeout(timer)
    if (!allRight) children.lastLines().forEach(out)
    if (keep && !stop.signal.aborted) await once(stop.signal, 'abort')
    exitCode = allRight ? 0 : 1
  } catch (error) {
    const reason = stop.signal.aborted ? stop.signal.reason : error
    out(`demo: ${describe(reason)}`)
    if (reason === interruption) exitCode = 130
    else children.lastLines().forEach(out)
  } finally {
    clearTimeout(timer)
    for (const problem of await children.stop()) {
      out(`demo: ${problem}`)
      exitCode ||= 1
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    for (const name of signals) process.off(name, interrupt)
  }
  return exitCode
}

async function demonstrate(demo: Demo): Promise<boolean> {
  const { children, folder, out, signal } = demo
  out('Starting Relevo on a fresh embedded database: a few seconds.')
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const tenant = [join(example, 'server.ts')]
  const [relevoUrl, url, slowUrl] = await Promise.all([
    children.start('relevo', [join(root, 'src', 'cli.ts'), 'serve'], relevoSettings(folder)),
    children.start('tenant', tenant, { PORT: '0', WEBHOOK_SECRET: webhookSecret }),
    children.start('slow tenant', tenant, { PORT: '0', WEBHOOK_SECRET: webhookSecret, DELAY_MS: '1500' }),
  ])
  const adminToken = (await readFile(join(folder, 'admin-token'), 'utf8')).trim()
  const flowJson = parseJson(await readFile(join(example, 'flow.json'), 'utf8'))
  const registered = await register(relevoUrl, adminToken, { url, slowUrl, webhookSecret, flowJson }, signal)
  const allRight = await report(await playAll(registered, signal), registered.api, demo)
  if (demo.keep) await tellWhatRuns(demo, registered, { Relevo: relevoUrl, tenant: url, 'slow tenant': slowUrl })
  return allRight
}

function relevoSettings(folder: string): Record<string, string> {
  return {
    PORT: '0',
    DATA_DIR: folder,
    WEBHOOK_ALLOW_HTTP: 'true',
    WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8,::1/128',
    LOG_LEVEL: 'warn',
  }
}

/** Plays the plan, person by person, one step after the other. */
async function playAll(registered: Registered, signal: AbortSignal): Promise<Played[]> {
  const played: Played[] = []
  for (const person of people) {
    const own = plan.filter((expected) => expected.person === person)
    const client = createMetaClient({ ...registered, endpointUri: registered.endpointUris[person] })
    const steps = own.map(({ step }) => step)
    const done = await playScript(client, steps, { flowToken: registered.flowTokens[person], signal })
    client.close()
    signal.throwIfAborted()
    for (const [index, step] of done.entries()) {
      const expected = own[index]
      if (expected !== undefined) played.push({ ...expected, played: step })
    }
  }
  return played
}

/** Prints the table with the outcomes that Relevo logged, then what was not as it should be. True when all was. */
async function report(steps: readonly Played[], api: Api, { out, signal }: Demo): Promise<boolean> {
  const sent = steps.filter(({ played }) => played.result.kind !== 'not_sent')
  const logged = await readOutcomes(api, sent.length, signal)
  const outcomes = steps.map((step) => (sent.includes(step) ? logged[sent.indexOf(step)] : null))
  const rows = steps.map(({ played: { action, screen, milliseconds } }, index) => {
    return [action, screen ?? '–', outcomes[index] ?? '–', formatMilliseconds(milliseconds)]
  })
  out('')
  for (const line of formatTable(['action', 'screen', 'outcome', 'ms'], rows, ['ms'])) out(line)
  out('')
  const problems = steps.flatMap(({ played: { name, problem }, outcome }, index) => {
    const actual = outcomes[index] ?? 'missing'
    const found = [problem, actual === outcome ? null : `outcome ${actual} instead of ${outcome}`]
    return found.filter((one) => one !== null).map((one) => `step ${index + 1} (${name}): ${one}`)
  })
  if (logged.length !== sent.length) problems.push(`${logged.length} exchanges logged instead of ${sent.length}`)
  for (const problem of problems) out(problem)
  if (problems.length === 0) out(`All ${steps.length} steps went as they should.`)
  return problems.length === 0
}

/** The outcomes of all exchanges, oldest first, once as many as expected are closed; at the deadline as far as known. */
async function readOutcomes(api: Api, expected: number, signal: AbortSignal): Promise<(string | null)[]> {
  const deadline = performance.now() + outcomeDeadlineMs
  for (;;) {
    const { data } = await api('GET', '/v1/exchanges?limit=100')
    const rows = Array.isArray(data) ? data.filter(isObject) : []
    // Ids are UUIDv7 of one process: their order is the order of the calls (contract §3).
    rows.sort((a, b) => (text(a, 'id') < text(b, 'id') ? -1 : 1))
    const outcomes = rows.map(({ outcome }) => (typeof outcome === 'string' ? outcome : null))
    const closed = outcomes.length >= expected && !outcomes.includes(null)
    if (closed || performance.now() > deadline) return outcomes
    await sleep(200, undefined, { signal })
  }
}

async function tellWhatRuns(
  { folder, out }: Demo,
  registered: Registered,
  urls: Record<string, string>,
): Promise<void> {
  const publicKeyFile = join(folder, 'demo-public-key.pem')
  const appSecretFile = join(folder, 'demo-app-secret')
  await writeFile(publicKeyFile, registered.publicKeyPem, { mode: 0o600 })
  await writeFile(appSecretFile, registered.appSecret, { mode: 0o600 })
  const uri = registered.endpointUris.first
  const running = { ...urls, 'endpoint URI': uri, folder, 'admin token': join(folder, 'admin-token') }
  out('')
  for (const [name, value] of Object.entries(running)) out(`${name.padEnd(12)}  ${value}`)
  out('')
  // Not by `node`: which that is on this machine nobody knows.
  out('Load, from another terminal:')
  out(`  npm run relevo -- simulate ${uri} --public-key ${publicKeyFile} \\`)
  out(`    --app-secret "$(cat ${appSecretFile})" --rate 50 --seconds 10`)
  out('Ctrl-C ends all of it and removes the folder.')
}
