import { defineConfig } from 'vitest/config'

// A start of Relevo takes 2 s of CPU on a slow machine, and others want its cores too: these only end what hangs.
const limits = { testTimeout: 60_000, hookTimeout: 60_000 }
const withoutDatabase = ['test/unit/**/*.test.ts', 'test/rules/**/*.test.ts']
// These set the time of the last id (src/domain/ids.ts) ahead: all that a module here keeps, and the rest of a process would have it.
const idsAhead = ['test/unit/domain/day.test.ts', 'test/unit/domain/ids.test.ts']

export default defineConfig({
  test: {
    pool: 'forks',
    // The machines that run this have two cores, and one of them is PostgreSQL's.
    maxWorkers: 2,
    teardownTimeout: 30_000,
    // A process of its own for each file would load all that it tests anew: a third of the time.
    isolate: false,
    projects: [
      { extends: true, test: { name: 'plain', include: withoutDatabase, exclude: idsAhead, ...limits } },
      { extends: true, test: { name: 'ids', include: idsAhead, isolate: true, ...limits } },
      {
        extends: true,
        test: {
          // Its setup, and with it the server, starts only when one of these files is to run.
          name: 'database',
          include: ['test/**/*.test.ts'],
          // Those in test/servers need servers that npm has not.
          exclude: [...withoutDatabase, 'test/servers/**'],
          globalSetup: 'test/support/global-setup.ts',
          ...limits,
        },
      },
    ],
  },
})
