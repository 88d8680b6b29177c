import { defineConfig } from 'vitest/config'
import { hasPgBouncer } from './pgbouncer.ts'

/**
 * Tests that others wrote, through PgBouncer: `npm run test:pgbouncer`. Those of test/integration that hold what a session could keep (locks,
 * leases, prepared statements, transactions), and whole exchanges with deliveries and notifications. The others speak the same SQL, every route of the
 * API among them: all of `test/integration/{api,storage,events,relay,maintenance}` and test/e2e/deliveries.test.ts pass too, in three minutes.
 */
const through = [
  'test/integration/storage/{exchanges,expunge-again}.test.ts',
  'test/integration/{events,relay}/*.test.ts',
  'test/integration/maintenance/election.test.ts',
  'test/integration/api/{expunge,flow-responses,idempotency}.test.ts',
  'test/e2e/propagation.test.ts',
]

export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    pool: 'forks',
    maxWorkers: 2,
    include: ['test/servers/pgbouncer.test.ts', ...(hasPgBouncer ? through : [])],
    globalSetup: 'test/servers/pgbouncer-setup.ts',
    teardownTimeout: 30_000,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    disableConsoleIntercept: true,
  },
})
