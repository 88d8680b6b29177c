import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { generatedDocs, repositoryRoot } from './generated-docs.ts'

for (const { path, make } of generatedDocs) {
  const file = join(repositoryRoot, path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, await make())
  process.stdout.write(`wrote ${path}\n`)
}
