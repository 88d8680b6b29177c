import type { Outcome } from '../../src/domain/outcome.ts'
import type { Behaviour } from '../support/tenant.ts'
import {
  delayed,
  dripping,
  hangUp,
  html,
  huge,
  redirect,
  reply,
  reset,
  resetInBody,
  silence,
  truncated,
} from '../support/tenant-behaviours.ts'

interface Failing {
  readonly behaviour: Behaviour
  /** How the log names it. */
  readonly outcome: Outcome
}

const failing = (outcome: Outcome, behaviour: Behaviour): Failing => ({ outcome, behaviour })
const problem = { error: 'made up' }

/** The ways in which a tenant fails. Fewer than half of them count for the breaker: it stays closed. */
export const failingWays = {
  serverError: failing('bad_status', reply(problem, 500)),
  notFound: failing('bad_status', html(404)),
  gone: failing('bad_status', reply(problem, 410)),
  // Nothing listens there: who followed it would not get to `bad_status`.
  redirected: failing('bad_status', redirect('http://127.0.0.1:9/')),
  noJson: failing('not_json', html()),
  invalidReply: failing('invalid_reply', reply({ data: [], screen: '' })),
  tooLarge: failing('reply_too_large', huge(300_000)),
  tooLargeUnannounced: failing('reply_too_large', huge(300_000, { chunked: true })),
  reset: failing('connection_lost', reset()),
  resetInBody: failing('connection_lost', resetInBody()),
  truncated: failing('connection_lost', truncated()),
  closed: failing('connection_lost', hangUp()),
  silent: failing('timeout', silence()),
  late: failing('timeout', delayed(1500, { screen: 'LATE', data: {} })),
  dripping: failing('timeout', dripping(1, 50)),
} as const satisfies Record<string, Failing>

export type FailingWay = keyof typeof failingWays
/** What the tenant did with a call. */
export type Deed = FailingWay | 'replied'

export const failingWayNames = Object.keys(failingWays) as FailingWay[]

export const outcomeOf = (deed: Deed): Outcome => (deed === 'replied' ? 'replied' : failingWays[deed].outcome)

/** What the tenant did with each call, and when it had the whole request, by the flow token. */
export type Deeds = Map<string, { readonly deed: Deed; readonly at: number }>

/**
 * Answers with the flow token on the screen, but of a `share` of all calls with each way of failing in turn: exactly that share, spread evenly,
 * so that no chance opens the breaker. Answers come at once or within 30 ms.
 */
export function failingTenant(share: () => number, deeds: Deeds): Behaviour {
  let [due, turn, calls] = [0, 0, 0]
  return async (call) => {
    const flowToken = String(call.received.headers['x-webhook-resource-id'])
    due += share()
    if (due >= 1) {
      due -= 1
      const deed = failingWayNames[turn++ % failingWayNames.length] ?? 'silent'
      deeds.set(flowToken, { deed, at: call.received.at })
      return failingWays[deed].behaviour(call)
    }
    deeds.set(flowToken, { deed: 'replied', at: call.received.at })
    if (++calls % 2 === 0) await call.pause(Math.random() * 30)
    return reply(replyFor(flowToken))(call)
  }
}

export const replyFor = (flowToken: string) => ({ screen: 'NEXT', data: { flowToken } })

/** Who is told of exchanges and not asked: two of ten times it fails, and is told again. */
export function failingObserver(): Behaviour {
  const ways = [reply(problem, 500), reset()]
  let calls = 0
  return (call) => (ways[calls++ % 10] ?? reply({}, 200))(call)
}

/** Who is told of fallbacks: of every ten calls the third is lost, the sixth fails, the ninth hangs. */
export function hangingObserver(): Behaviour {
  const ways = new Map([
    [3, hangUp()],
    [6, reply(problem, 503)],
    [9, silence()],
  ])
  let calls = 0
  return (call) => (ways.get(++calls % 10) ?? reply({}, 200))(call)
}
