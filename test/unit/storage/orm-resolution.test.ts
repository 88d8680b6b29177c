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

  it('are found so in a process of Relevo, as its own files are and names once, and are the modules that Node finds', () => {
    const [runtime, root] = ['../../../src/runtime.ts', '../../../'].map((path) =>
      fileURLToPath(new URL(path, import.meta.url)),
    )
    // A hook registered earlier is asked only for what a later one passes on.
    const program = `import { registerHooks } from 'node:module'
      const passedOn = { orm: 0, own: 0 }
      const names = []
      registerHooks({ resolve(specifier, context, next) {
        const isFile = specifier.startsWith('.')
        if (context.parentURL?.includes('/drizzle-orm/') && isFile) passedOn.orm++
        if (context.parentURL?.includes('/src/storage/') && isFile) passedOn.own++
        if (specifier.startsWith('drizzle-orm')) names.push(specifier)
        return next(specifier, context)
      } })
      if (process.env.RUNTIME) await import(process.env.RUNTIME)
      const { clients } = await import('./src/storage/schema.ts')
      await import('./src/storage/clients.ts')
      const { PgTable } = await import('./node_modules/drizzle-orm/pg-core/table.js')
      const isOnce = new Set(names).size === names.length
      console.log(JSON.stringify({ passedOn, isOnce, isSame: clients instanceof PgTable }))`
    const run = (env: Record<string, string>) =>
      JSON.parse(
        execFileSync(process.execPath, ['--input-type=module', '--eval', program], { cwd: root, env }).toString(),
      )
    const prepared = run({ RUNTIME: String(runtime) })
    expect(prepared).toEqual({ passedOn: { orm: 0, own: 0 }, isOnce: true, isSame: true })
    const plain = run({})
    expect(plain.passedOn.orm).toBeGreaterThan(100)
    expect(plain.passedOn.own).toBeGreaterThan(5)
    expect(plain.isOnce).toBe(false)
  })
})
