import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { listFiles, readSources, repositoryRoot } from './sources.ts'

const sources = readSources()
const mostLines = 300

describe('src', () => {
  it('has no file or folder whose name says nothing', () => {
    const silent = /(^|\/)(utils?|helpers?|libs?|common|misc|shared|stuff)(\.ts|\/)/
    expect(['utils.ts', 'api/helpers/x.ts', 'lib/a.ts'].every((path) => silent.test(path))).toBe(true)
    expect(sources.map(({ path }) => path).filter((path) => silent.test(path))).toEqual([])
  })

  it(`has no file of more than ${mostLines} lines`, () => {
    const long = sources.filter(({ text }) => text.trimEnd().split('\n').length > mostLines)
    expect(long.map(({ path }) => path)).toEqual([])
  })
})

describe('the repository', () => {
  it('names no package registry: an install asks whichever its machine is set to', () => {
    const paths = listFiles()
    expect(paths).toContain('package-lock.json')
    // Put together here, so that this file does not name them.
    const hosts = [
      ['registry.npmjs', 'org'],
      ['registry.yarnpkg', 'com'],
      ['npm.pkg.github', 'com'],
    ].map((parts) => parts.join('.'))
    const naming = paths.filter((path) => {
      const text = readFileSync(join(repositoryRoot, path), 'utf8')
      return hosts.some((host) => text.includes(host))
    })
    expect(naming).toEqual([])
  })

  it('has nobody run TypeScript by whatever `node` a machine has', () => {
    const bare = /(?<!npx )\bnode (?:src|examples|bench|test|scripts)\/\S+\.ts/
    const commands = listFiles().flatMap((path) => {
      const text = readFileSync(join(repositoryRoot, path), 'utf8')
      if (path === 'src/demo.ts') return text.split('\n')
      return path.endsWith('.md')
        ? [...text.matchAll(/^\s*```sh$(.*?)^\s*```$/gms)].flatMap(([block]) => block.split('\n'))
        : []
    })
    expect(commands.filter((line) => line.includes('npx node ')).length).toBeGreaterThan(0)
    expect(commands.filter((line) => bare.test(line))).toEqual([])
  })

  it('locks packages by integrity, not by address', () => {
    const lock: { packages: Record<string, { resolved?: string; integrity?: string }> } = JSON.parse(
      readFileSync(join(repositoryRoot, 'package-lock.json'), 'utf8'),
    )
    const locked = Object.entries(lock.packages).filter(([path]) => path !== '')
    const loose = locked.filter(([, { resolved, integrity }]) => resolved !== undefined || integrity === undefined)
    expect(loose.map(([path]) => path)).toEqual([])
  })
})
