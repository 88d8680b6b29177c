import { join } from 'node:path'
import { describeApi } from '../src/api/openapi.ts'
import { routes } from '../src/api/routes.ts'
import { describeConfig } from '../src/config.ts'
import { describeFaults } from '../test/faults/page.ts'
import { describeMetrics } from './metrics-page.ts'

export const repositoryRoot = join(import.meta.dirname, '..')

export interface GeneratedDoc {
  /** From the repository's root. */
  readonly path: string
  /** What is to stand there, made from the code. */
  readonly make: () => string | Promise<string>
}

/** Every page that is made and not written. `npm run docs` writes them, `npm run check` fails when one has drifted. */
export const generatedDocs: readonly GeneratedDoc[] = [
  { path: 'docs/configuration.md', make: describeConfig },
  { path: 'docs/faults.md', make: describeFaults },
  { path: 'docs/metrics.md', make: describeMetrics },
  { path: 'docs/openapi.json', make: () => `${JSON.stringify(describeApi(routes), null, 2)}\n` },
]
