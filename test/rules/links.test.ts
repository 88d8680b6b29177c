import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { listFiles, repositoryRoot } from './sources.ts'

const pages = listFiles().filter((path) => path.endsWith('.md'))
/** Files that a page links to, and those that it names as code: `test/…`, `src/…` and the like. */
const named =
  /\]\((?!https?:|#)([^)#\s]+)[^)]*\)|`((?:src|test|docs|scripts|examples|migrations|bench)\/[^`\s*…{}<>]+)`/g

describe('pages', () => {
  it('name only files that are there', () => {
    const missing = pages.flatMap((page) =>
      [...readFileSync(join(repositoryRoot, page), 'utf8').matchAll(named)]
        .map(([, link, path]) => (link === undefined ? (path ?? '') : join(dirname(page), link)))
        .filter((path) => !existsSync(join(repositoryRoot, path)))
        .map((path) => `${page} → ${path}`),
    )
    expect(missing).toEqual([])
  })

  it('are found', () => {
    expect(pages).toEqual(expect.arrayContaining(['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs/outcomes.md']))
  })
})
