import type { TestProject } from 'vitest/node'
import setupServer from '../support/global-setup.ts'
import { hasPgBouncer, startPgBouncer } from './pgbouncer.ts'

/** The server of all tests, and a PgBouncer before it that Relevo goes through. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Nothing to go through: all that is left skips.
  if (!hasPgBouncer) return async () => undefined
  let serverUrl = ''
  const provide: TestProject['provide'] = (name, value) => {
    if (name === 'testServerUrl') serverUrl = String(value)
    project.provide(name, value)
  }
  const teardown = await setupServer({ provide })
  const pgBouncer = await startPgBouncer(serverUrl)
  project.provide('testPoolerUrl', pgBouncer.url)
  return async () => {
    await pgBouncer.close()
    await teardown()
  }
}
