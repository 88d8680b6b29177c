import { populate } from './populate.ts'
import { at, type RunningRelevo, withRelevo } from './running-relevo.ts'

/**
 * `npm run bench:growth`: what 10,000 workspaces with 10 webhooks each cost over 10: p50 of the API's GET and POST, and the
 * CPU per exchange of a process that holds them all.
 */
const [warmUp, exchanges, calls] = [500, 2000, 300]

interface Figures {
  readonly getMs: number
  readonly postMs: number
  readonly cpuMs: number
  readonly residentMiB: number
}

const few = await measureAt(10)
const many = await measureAt(10_000)
const row = (name: string, of: (figures: Figures) => number, unit: string) =>
  console.log(
    `${name.padEnd(22)} ${of(few).toFixed(2).padStart(9)} ${of(many).toFixed(2).padStart(9)} ${(of(many) / of(few)).toFixed(2).padStart(7)}  ${unit}`,
  )
console.log(`${''.padEnd(22)} ${'10'.padStart(9)} ${'10,000'.padStart(9)} ${'ratio'.padStart(7)}`)
row('API GET p50', (figures) => figures.getMs, 'ms')
row('API POST p50', (figures) => figures.postMs, 'ms')
row('CPU per exchange', (figures) => figures.cpuMs, 'ms')
row('resident memory', (figures) => figures.residentMiB, 'MiB')

async function measureAt(workspaces: number): Promise<Figures> {
  return withRelevo(measure, { prepare: (databaseUrl) => populate(databaseUrl, workspaces) })
}

async function measure({ api, play, cpuMs, residentMiB }: RunningRelevo): Promise<Figures> {
  const gets = await timed(calls, () => api('GET', '/v1/webhooks'))
  const body = { name: 'W', url: 'https://example.com/hook', events: ['whatsapp.flows.completed'] }
  const posts = await timed(calls, () => api('POST', '/v1/webhooks', body))
  await play(warmUp)
  const before = cpuMs()
  await play(exchanges)
  const spent = (cpuMs() - before) / exchanges
  return { getMs: at(gets, 0.5), postMs: at(posts, 0.5), cpuMs: spent, residentMiB: residentMiB() }
}

async function timed(count: number, call: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now()
    await call()
    times.push(performance.now() - startedAt)
  }
  return times.slice(count / 10)
}
