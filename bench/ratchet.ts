import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * `npm run bench:ratchet`: fails where both of the quick bench's ratios are above the figures in ratchet.json by more than noise explains, in each of three runs.
 * Both, because machines differ in one: some do RSA three times as fast as others, and all else alike. Where they fall for good, put the new figures there.
 */
const noise = 1.15
const runs = 3

interface Ratios {
  readonly rsa: number
  readonly naive: number
}

const reached = JSON.parse(readFileSync(join(import.meta.dirname, 'ratchet.json'), 'utf8')) as Ratios
const isHeld = ({ rsa, naive }: Ratios) => rsa <= reached.rsa * noise || naive <= reached.naive * noise
const seen: Ratios[] = []
do seen.push(quickRatios())
while (!seen.some(isHeld) && seen.length < runs)
const told = seen.map(({ rsa, naive }) => `rsa=${rsa} naive=${naive}`).join(', ')
const allowed = `rsa=${(reached.rsa * noise).toFixed(2)} or naive=${(reached.naive * noise).toFixed(2)}`
console.log(`ratio ${told}: ${seen.some(isHeld) ? 'held' : 'above'} ${allowed}, the ratios in ratchet.json and 15 %`)
if (!seen.some(isHeld)) process.exitCode = 1

function quickRatios(): Ratios {
  const output = execFileSync(process.execPath, [join(import.meta.dirname, 'bench.ts'), '--quick'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 180_000,
  })
  console.log(output.trimEnd())
  const [, rsa, naive] = /^ratio rsa=([\d.]+) naive=([\d.]+)$/m.exec(output) ?? []
  return { rsa: Number(rsa), naive: Number(naive) }
}
