import { type ResolveFnOutput, registerHooks } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import { mendDriverSource } from './storage/driver-source.ts'
import { ormFileUrl } from './storage/orm-resolution.ts'

// Prepares a process of Relevo for V8's collector and for a short start; loaded before anything else. Without it all works the same, with longer pauses:
// bench/notes.md.

/**
 * V8 lets the old generation grow by little where little becomes old, and marks again and again: every 1.6 s at 130 exchanges a second, 150 ms
 * of CPU each time. So it is collected when it is 2.5 times what was left of it.
 */
setFlagsFromString('--heap-growing-percent=150')

/**
 * All marked in one stop. In steps, between what else goes on, it takes 60 to 140 ms of a core, and at the end what was young when it began is moved, dead or not: 40 to 240 ms more. At
 * once it is 55 to 70 ms, 140 with 10,000 workspaces. It ends concurrent marking, too, whose four threads left an exchange a fifth of the core.
 */
setFlagsFromString('--no-incremental-marking')

/** Else V8 makes objects old at once where those made in the same place once lived long, and each takes what it holds with it: a buffer is 8 kB. */
setFlagsFromString('--no-allocation-site-pretenuring')

/**
 * V8 collects everything to give memory back when it has not done so for 100 s, whatever goes on: a stop of 100 to 190 ms, as it moves all that is left. (`--no-memory-reducer`
 * comes too late in a process that runs.)
 */
setFlagsFromString('--memory-reducer-gc-count=0')

const own = new URL('./', import.meta.url).href
const orm = /^drizzle-orm(\/|$)/
/** Where the names of drizzle-orm lead: for each of 60 imports Node would read its package.json of 180 kB. */
const ormNames = new Map<string, ResolveFnOutput>()

registerHooks({
  resolve(specifier, context, nextResolve) {
    const { parentURL } = context
    const url = ormFileUrl(specifier, parentURL)
    if (url !== null) return { url, format: 'module', shortCircuit: true }
    if (parentURL?.startsWith(own) !== true) return nextResolve(specifier, context)
    // Else Node looks for a package.json above each of 300 files.
    if (/^\.\.?\/.*\.ts$/.test(specifier)) {
      return { url: new URL(specifier, parentURL).href, format: 'module-typescript', shortCircuit: true }
    }
    const found = ormNames.get(specifier) ?? nextResolve(specifier, context)
    if (orm.test(specifier)) ormNames.set(specifier, { ...found, shortCircuit: true })
    return found
  },
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const file = /\/node_modules\/postgres\/src\/(\w+\.js)$/.exec(url)?.[1]
    if (file === undefined || loaded.source === undefined || loaded.source === null) return loaded
    return { ...loaded, source: mendDriverSource(file, loaded.source.toString()) }
  },
})
