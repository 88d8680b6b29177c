import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { migrate } from '../../src/migrate.ts'
import type { TestDatabase } from '../support/database.ts'
import { startTestServer } from '../support/test-server.ts'
import { printReport } from './print.ts'
import { fuzz } from './run.ts'
import { targets } from './targets.ts'

// `npm run fuzz [cases] [-- --seed N] [--only target] [--path P]`: cases for all targets together, 100,000 unless told otherwise. Ends with 1
// after a finding. The short form is fuzz.test.ts.
const options = { seed: { type: 'string' }, only: { type: 'string' }, path: { type: 'string' } } as const
const { positionals, values } = parseArgs({ options, allowPositionals: true })
const cases = Number(positionals[0] ?? 100_000)
const seed = Number(values.seed ?? randomInt(2 ** 31 - 100))
const chosen = targets.filter(({ name }) => values.only === undefined || values.only === name)
if (!Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed) || chosen.length === 0) {
  console.error(`fuzz.ts [cases] [--seed N] [--only ${targets.map(({ name }) => name).join(' | ')}] [--path P]`)
  process.exit(2)
}

const server = await startTestServer()
try {
  const shares = chosen.reduce((sum, { share }) => sum + share, 0)
  let total = 0
  for (const kind of chosen) {
    const database = await makeDatabase(server.url, `fuzz_${kind.name.replaceAll('-', '_')}`)
    const ofTarget = Math.ceil((cases * kind.share) / shares)
    const report = await fuzz(kind, database, {
      cases: ofTarget,
      seeds: [seed],
      ...(values.path === undefined ? {} : { path: values.path }),
    })
    printReport(report)
    total += report.cases
    if (report.findings.length > 0) process.exitCode = 1
    await database.drop()
  }
  console.log(`${total} cases, seed ${seed}: ${process.exitCode === 1 ? 'there are findings' : 'no findings'}`)
} finally {
  await server.end()
}

async function makeDatabase(serverUrl: string, name: string): Promise<TestDatabase> {
  const admin = postgres(serverUrl, { max: 1, onnotice: () => undefined })
  await admin`create database ${admin(name)}`
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  await migrate(url.href)
  const drop = async () => {
    await admin`drop database ${admin(name)} with (force)`
    await admin.end({ timeout: 1 })
  }
  return { url: url.href, settings: { url: url.href, prepare: true }, drop }
}
