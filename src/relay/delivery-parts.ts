import type { NewDelivery } from '../storage/deliveries.ts'

/** About what a row takes of anything beside its bytes and texts. */
export const frameBytes = 1024

/** Deliveries that are written in one statement, bytes: a tenant may have hundreds of webhooks, and an envelope 700 kB, in memory twice over as text then. */
const mostBytes = 4 * 1024 * 1024

/** About how many bytes a delivery takes written, its envelope for itself alone. */
export function deliveryBytes({ envelope, resourceId }: NewDelivery): number {
  return frameBytes + (envelope?.length ?? 0) + (resourceId?.length ?? 0)
}

/** In order, as many together as one statement takes; none for none. */
export function inParts(deliveries: readonly NewDelivery[]): NewDelivery[][] {
  const parts: NewDelivery[][] = []
  let bytes = mostBytes
  for (const told of deliveries) {
    const more = deliveryBytes(told)
    if (bytes + more > mostBytes) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)?.push(told)
    bytes += more
  }
  return parts
}
