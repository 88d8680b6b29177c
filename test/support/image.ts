import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('!'))
  .map((line) => line.slice(1))

/**
 * Puts into a fresh folder outside the repository what the Dockerfile puts into /app: the files that it copies, as far as .dockerignore
 * lets them through, and the packages that `npm ci --omit=dev --omit=optional` installs. Returns the folder's path.
 */
export function layOutImage(): string {
  const app = mkdtempSync(join(tmpdir(), 'relevo-image-'))
  chmodSync(app, 0o755)
  const lastStage = dockerfile.lastIndexOf('\nFROM ')
  for (const { 1: from = '', index } of dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)) {
    const names = from.trim().split(/\s+/)
    const to = names.pop() ?? ''
    for (const name of names) {
      if (!allowed.includes(name)) throw new Error(`.dockerignore keeps ${name} from the build`)
      if (index > lastStage)
        cpSync(join(root, name), to.endsWith('/') ? join(app, to, name) : join(app, to), { recursive: true })
    }
  }
  copyInto(app, productionPackages())
  return app
}

function copyInto(app: string, paths: readonly string[]): void {
  const copy = (...options: string[]) =>
    execFileSync('cp', ['-a', '--parents', ...options, ...paths, app], { cwd: root, stdio: 'ignore' })
  try {
    // Hard links: 70 MB otherwise.
    copy('-l')
  } catch {
    // The temporary folder is on another file system.
    copy('--force')
  }
}

interface Locked {
  readonly dev?: boolean
  readonly optional?: boolean
  readonly devOptional?: boolean
}

/** Folders of the packages that are neither for development nor optional, parents before those inside them. */
export function productionPackages(): string[] {
  const lock: { packages: Record<string, Locked> } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
  return Object.entries(lock.packages)
    .filter(([path, it]) => path !== '' && !it.dev && !it.optional && !it.devOptional)
    .map(([path]) => path)
    .filter((path, _, all) => !all.some((other) => path.startsWith(`${other}/`)))
}

/** The arguments of a JSON array in the Dockerfile, such as `ENTRYPOINT`'s, for the folder at `app`. */
export function argumentsOf(instruction: string, app: string): string[] {
  const [, json] = new RegExp(`${instruction}[^\\n[]*(?:\\\\\\n\\s+CMD )?(\\[.*\\])$`, 'm').exec(dockerfile) ?? []
  if (json === undefined) throw new Error(`the Dockerfile has no ${instruction} in JSON`)
  return JSON.parse(json).map((word: string) => word.replace(/^\/app\b/, app))
}
