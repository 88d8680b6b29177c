import type { Notice } from '../domain/events.ts'
import type { Account } from './directory.ts'

/** So much is written in one transaction: short locks and bounded memory, yet few round trips for a body of a thousand changes. */
const mostThings = 250

/** To all webhooks together: a tenant with 500 would otherwise be told 125,000 times in one transaction. */
const mostDeliveries = 5000

/** What is told, in order, as much together as one transaction writes. `eventOf`: what webhooks are told for it, if anything. */
export function inSlices<Told extends { readonly account: Account }>(
  told: readonly Told[],
  eventOf: (one: Told) => Notice | null,
): Told[][] {
  const slices: Told[][] = []
  let deliveries = 0
  for (const one of told) {
    const more = mostTold(one.account, eventOf(one))
    const slice = slices.at(-1)
    if (slice === undefined || slice.length === mostThings || deliveries + more > mostDeliveries) {
      slices.push([one])
      deliveries = more
    } else {
      slice.push(one)
      deliveries += more
    }
  }
  return slices
}

/** How many webhooks are told of an event, whichever flow it is about. */
function mostTold({ webhooks }: Account, event: Notice | null): number {
  return event === null ? 0 : webhooks.filter(({ active, events }) => active && events.includes(event)).length
}
