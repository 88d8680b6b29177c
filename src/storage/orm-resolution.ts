const within = '/node_modules/drizzle-orm/'

/**
 * The URL of a file of drizzle-orm that another file of it imports, else null. The package.json there has 180 kB, and Node 24 reads it anew for
 * each of 430 imports, only to learn that these are ES modules: a quarter of what a start took (bench/notes.md).
 */
export function ormFileUrl(specifier: string, importer: string | undefined): string | null {
  const isOwnFile = importer?.includes(within) === true && /^\.\.?\/.*\.js$/.test(specifier)
  return isOwnFile ? new URL(specifier, importer).href : null
}
