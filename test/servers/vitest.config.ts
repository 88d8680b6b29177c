import { defineConfig } from 'vitest/config'

/** Tests against servers that Debian has and npm has not: `npm run test:failover`, `test:restore`. `npm test` leaves them out. */
export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    pool: 'forks',
    maxWorkers: 1,
    include: ['test/servers/*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
  },
})
