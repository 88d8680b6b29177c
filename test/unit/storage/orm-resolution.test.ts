import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ormFileUrl } from '../../../src/storage/orm-resolution.ts'

const orm = new URL('../../../node_modules/drizzle-orm/', import.meta.url)
const importsOf = (source: string) =>
  [...source.matchAll(/^(?:import|export)\b[^;]*?from "(\.[^"]+)"/gm)].map(([, of]) => of ?? '')

describe('files of drizzle-orm', () => {
  it('are ES modules that import each other by names of files', () => {
    const { type } = JSON.parse(readFileSync(new URL('package.json', orm), 'utf8'))
    expect(type).toBe('module')
    for (const folder of ['', 'pg-core/', 'pg-core/columns/', 'postgres-js/', 'sql/']) {
      const files = readdirSync(new URL(folder, orm)).filter((name) => name.endsWith('.js'))
      expect(files.length).toBeGreaterThan(0)
      for (const file of files) {
        const importer = new URL(folder + file, orm)
        for (const specifier of importsOf(readFileSync(importer, 'utf8'))) {
          const url = ormFileUrl(specifier, importer.href)
          expect(url !== null && existsSync(new URL(url)), `${folder}${file}: ${specifier}`).toBe(true)
        }
      }
    }
  })

  it('are all that is found without their package.json', () => {
    const inside = new URL('pg-core/table.js', orm).href
    expect(ormFileUrl('../entity.js', inside)).toBe(new URL('entity.js', orm).href)
    for (const specifier of ['postgres', 'drizzle-orm/pg-core', '../entity', 'node:fs'])
      expect(ormFileUrl(specifier, inside)).toBeNull()
    expect(ormFileUrl('./entity.js', undefined)).toBeNull()
    expect(ormFileUrl('./schema.ts', import.meta.url)).toBeNull()
    expect(ormFileUrl('./schema.js', import.meta.url)).toBeNull()
  })

  it('are found so in a process of Relevo, and are the modules that Node finds', () => {
    const [runtime, root] = ['../../../src/runtime.ts', '../../../'].map((path) =>
      fileURLToPath(new URL(path, import.meta.url)),
    )
    // A hook registered earlier is asked only for what a later one passes on.
    const program = `import { registerHooks } from 'node:module'
      let passedOn = 0
      registerHooks({ resolve(specifier, context, next) {
        if (context.parentURL?.includes('/drizzle-orm/') && specifier.startsWith('.')) passedOn++
        return next(specifier, context)
      } })
      if (process.env.RUNTIME) await import(process.env.RUNTIME)
      const { pgTable } = await import('drizzle-orm/pg-core')
      const isSame = (await import('./node_modules/drizzle-orm/pg-core/table.js')).pgTable === pgTable
      console.log(JSON.stringify({ passedOn, isSame }))`
    const run = (env: Record<string, string>) =>
      JSON.parse(
        execFileSync(process.execPath, ['--input-type=module', '--eval', program], { cwd: root, env }).toString(),
      )
    expect(run({ RUNTIME: String(runtime) })).toEqual({ passedOn: 0, isSame: true })
    expect(run({}).passedOn).toBeGreaterThan(100)
  })
})
