import type { Fault, Faults } from '../support/tcp-faults.ts'
import type { Injection } from './matrix.ts'

/** What the two directions of a hop carry: to the server, and back. */
export interface Hop {
  readonly toServer: string
  readonly toClient: string
}

/** A fault as tests are named and docs/faults.md tells it: `answer: reset after 20 bytes`. */
export function inWords(fault: Injection, { toServer, toClient }: Hop): string {
  if (fault === 'refused') return 'connection refused'
  const [there, back] = [told(fault, 'toServer'), told(fault, 'toClient')]
  if (there === back) return `both ways: ${there}`
  return [there && `${toServer}: ${there}`, back && `${toClient}: ${back}`].filter(Boolean).join('; ')
}

function told(faults: Faults, direction: keyof Faults): string {
  const fault = faults[direction]
  return fault === undefined ? '' : words(fault)
}

function words(fault: Fault): string {
  switch (fault.kind) {
    case 'latency':
      return `${fault.ms}${fault.jitterMs ? ` to ${fault.ms + fault.jitterMs}` : ''} ms late`
    case 'drip':
      return `${bytes(fault.bytes)} each ${fault.everyMs} ms`
    case 'bandwidth':
      return `${bytes(fault.bytesPerSecond)} a second`
    default:
      return `${strikes[fault.kind]} ${fault.afterBytes === 0 ? 'at once' : `after ${bytes(fault.afterBytes)}`}`
  }
}

const bytes = (count: number) => `${count} byte${count === 1 ? '' : 's'}`

const strikes = {
  reset: 'reset (RST)',
  half_close: 'half-closed (FIN)',
  truncate: 'closed (FIN both ways)',
  vanish: 'black hole',
  hold: 'not read',
}
