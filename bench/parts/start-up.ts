import { randomBytes } from 'node:crypto'
import { writeMessage } from '../../src/simulator/message.ts'
import { newFlowToken } from '../../src/simulator/simulate.ts'
import { registerWorkspaces, type Serving, serve } from '../../test/durability/serving.ts'
import { freshDataDir, removeEmbedded } from '../../test/support/embedded.ts'
import { runRelevo } from '../../test/support/process.ts'
import { withSurroundings } from '../loaded-relevo.ts'
import { type Finding, ms, type Part } from '../part.ts'

const starts = 7

/** (h): from the start of the process to the first exchange that is answered with the tenant's reply; and of the embedded database, to listening. */
export const startUp: Part = async function* () {
  yield* await onServer()
  yield* await embedded()
}

async function onServer(): Promise<Finding[]> {
  const [listens, answers]: [number[], number[]] = [[], []]
  await withSurroundings(async ({ databaseUrl, tenantUrl }) => {
    const settings = { MASTER_KEY: randomBytes(32).toString('base64'), PORT: '0' }
    const first = await serve(databaseUrl, settings)
    const [workspace] = await registerWorkspaces(first, 1, { url: tenantUrl })
    settings.PORT = new URL(first.url).port
    await first.end()
    for (let start = 0; start < starts; start++) {
      const startedAt = performance.now()
      const serving: Serving = await serve(databaseUrl, settings)
      listens.push(performance.now() - startedAt)
      const message = writeMessage({ name: 'open', action: 'INIT' }, newFlowToken())
      const { kind, problem } = (await workspace?.meta.exchange(message)) ?? {}
      answers.push(performance.now() - startedAt)
      if (kind !== 'screen') throw new Error(`the first answer was wrong: ${problem ?? kind}`)
      workspace?.meta.close()
      await serving.end()
    }
  })
  const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[starts >> 1] ?? Number.NaN
  return [
    [`to listening, PostgreSQL running, median of ${starts}`, ms(median(listens), 0)],
    ['to the first answer, median', `${ms(median(answers), 0)}, at most ${ms(Math.max(...answers), 0)}`],
  ]
}

/** An empty DATA_DIR and one with a database in it. */
async function embedded(): Promise<Finding[]> {
  const dataDir = await freshDataDir()
  const findings: Finding[] = []
  try {
    for (const what of ['to listening, embedded PostgreSQL made first', 'to listening, embedded PostgreSQL there']) {
      const startedAt = performance.now()
      const relevo = runRelevo(['serve'], {
        DATA_DIR: dataDir,
        PORT: '0',
        ADMIN_TOKEN: randomBytes(24).toString('hex'),
      })
      await relevo.listening()
      findings.push([what, ms(performance.now() - startedAt, 0)])
      relevo.child.kill('SIGTERM')
      await relevo.ended()
    }
  } finally {
    await removeEmbedded(dataDir)
  }
  return findings
}
