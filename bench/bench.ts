import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Extent, Finding, Part } from './part.ts'
import { cpuOfAnExchange, naiveServer } from './parts/cpu.ts'
import { growth, growthOfLog } from './parts/growth.ts'
import { latency } from './parts/latency.ts'
import { memory } from './parts/memory.ts'
import { breakdown } from './parts/profile.ts'
import { startUp } from './parts/start-up.ts'
import { throughput } from './parts/throughput.ts'
import { workers } from './parts/workers.ts'
import { datedRows, keepRows } from './results.ts'

/**
 * `npm run bench -- [part …] [--rows] [--short] [--results <file>] [--exchanges <n>] [--warm-up <n>] [--seconds <n>]
 * [--wabas <n>] [--log-rows <n>]`: without parts all, and the log of 10 million rows with `--rows`. `npm run bench -- --quick`: (a) and (i) alone, in under a minute.
 */
const parts: Readonly<Record<string, readonly [title: string, part: Part]>> = {
  a: ['CPU per exchange', cpuOfAnExchange],
  b: ['throughput at saturation on one core', throughput],
  c: ['added latency', latency],
  d: ['where the CPU goes', breakdown],
  e: ['growth', growth],
  erows: ['growth of the exchange log', growthOfLog],
  f: ['several processes', workers],
  g: ['memory', memory],
  h: ['start-up', startUp],
  i: ['a naive endpoint', naiveServer],
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    rows: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    results: { type: 'string', default: join(import.meta.dirname, 'results.md') },
    exchanges: { type: 'string' },
    'warm-up': { type: 'string' },
    seconds: { type: 'string' },
    wabas: { type: 'string' },
    'log-rows': { type: 'string' },
  },
})

if (values.quick) await import('./quick.ts')
else await runParts()

async function runParts(): Promise<void> {
  const chosen = positionals.length > 0 ? positionals : Object.keys(parts).filter((name) => name !== 'erows')
  if (values.rows && !chosen.includes('erows')) chosen.push('erows')
  const unknown = chosen.filter((name) => !(name in parts))
  if (unknown.length > 0) throw new Error(`no part ${unknown.join(', ')}: there are ${Object.keys(parts).join(', ')}`)
  for (const name of chosen) await runPart(name)
}

/** A part that fails leaves its old rows, and the others run. */
async function runPart(name: string): Promise<void> {
  const [title, part] = parts[name] as (typeof parts)[string]
  const [startedAt, findings]: [number, Finding[]] = [performance.now(), []]
  console.log(`(${name}) ${title}`)
  try {
    for await (const finding of part(extent())) {
      findings.push(finding)
      console.log(`  ${finding[0].padEnd(76)} ${finding[1]}`)
    }
    keepRows(values.results, name, datedRows(name, findings))
  } catch (error) {
    process.exitCode = 1
    console.error(`  (${name}) failed:`, error)
  }
  console.log(`  in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`)
}

/** Short: to see whether the parts run. Its figures are of a process that is still being compiled. */
function extent(): Extent {
  const long: Extent = {
    // V8 compiles what an exchange uses for good after some 10,000.
    warmUp: 12_000,
    exchanges: 20_000,
    seconds: 60,
    workspaces: 10_000,
    wabas: 1000,
    rows: 10_000_000,
  }
  const short: Extent = { warmUp: 200, exchanges: 1000, seconds: 3, workspaces: 500, wabas: 20, rows: 100_000 }
  const base = values.short ? short : long
  const given = (text: string | undefined, otherwise: number) => (text === undefined ? otherwise : Number(text))
  return {
    ...base,
    exchanges: given(values.exchanges, base.exchanges),
    warmUp: given(values['warm-up'], base.warmUp),
    seconds: given(values.seconds, base.seconds),
    wabas: given(values.wabas, base.wabas),
    rows: given(values['log-rows'], base.rows),
  }
}
