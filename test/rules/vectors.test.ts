import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { repositoryRoot } from './sources.ts'

/** Where the project's developers keep the originals. */
const originals = '/work/shared/vectors'
const copies = join(repositoryRoot, 'test/vectors')

it('test/vectors are the public vectors, byte for byte', ({ skip }) => {
  skip(!existsSync(originals), `${originals} is not on this machine: the copies are taken on trust`)
  for (const name of readdirSync(copies)) {
    expect(readFileSync(join(copies, name)).equals(readFileSync(join(originals, name))), name).toBe(true)
  }
})
