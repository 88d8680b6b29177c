import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { routes } from '../../src/api/routes.ts'
import { checkNames } from '../../src/doctor/finding.ts'
import { outcomes } from '../../src/domain/outcome.ts'
import { readSources, repositoryRoot } from './sources.ts'

const read = (path: string) => readFileSync(join(repositoryRoot, path), 'utf8')
const page = read('docs/operations.md')
const alerts = 'deploy/prometheus/relevo-alerts.yml'

/** All first groups, each once. */
const named = (pattern: RegExp, text = page) => [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))]

describe('docs/operations.md', () => {
  it('names routes that are there', () => {
    const known = routes.map(({ method, path }) => `${method} ${path.replace(/:\w+/g, '{}')}`)
    const told = named(/`((?:GET|POST|PATCH|DELETE)\s+\/v1\/[^\s`?]+)/g).map((route) =>
      route.replace(/\s+/, ' ').replace(/\{\w+\}/g, '{}'),
    )
    expect(told.length).toBeGreaterThan(15)
    expect(told.filter((route) => !known.includes(route))).toEqual([])
  })

  it('names metrics and outcomes that are there', () => {
    const source = readSources()
      .map(({ text }) => text)
      .join('\n')
    const metrics = named(/\b(relevo_[a-z_]+)\b/g).map((name) => name.replace(/_(count|sum|bucket)$/, ''))
    expect(metrics.length).toBeGreaterThan(4)
    expect(metrics.filter((name) => !source.includes(`'${name}'`) && !source.includes(`${name}:`))).toEqual([])
    const told = named(/outcome=([a-z_]+)/g)
    expect(told.filter((name) => !(name in outcomes))).toEqual([])
  })

  it("has a row for each of the doctor's checks", () => {
    const rows = named(/^\| ((?:`[a-z-]+`(?:, )?)+) \|/gm).flatMap((cell) => named(/`([a-z-]+)`/g, cell))
    expect(rows).toEqual(expect.arrayContaining([...checkNames]))
  })

  it.skipIf(!existsSync(join(repositoryRoot, alerts)))('tells what to do at each alert', () => {
    const fired = named(/- alert: (\w+)/g, read(alerts))
    expect(named(/`(Relevo[A-Z]\w+)`/g).toSorted()).toEqual(fired.toSorted())
  })
})
