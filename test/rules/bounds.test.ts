import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { prolongEveryMs, waitMs } from '../../src/api/idempotency.ts'
import { listenMs } from '../../src/delivery/late-listeners.ts'
import { asynchronousDeadlineMs } from '../../src/domain/delivery.ts'
import { staticReplyBounds } from '../../src/domain/webhook.ts'
import { maxIdleMs, maxReuseAgeMs } from '../../src/egress/connection.ts'
import { heldMs } from '../../src/events/announcement.ts'
import { pauseMs } from '../../src/events/paced-look.ts'
import { heartbeatSeconds, superviseMs } from '../../src/events/queue.ts'
import { mostBytes as mostUploadedBytes } from '../../src/ops/uploads.ts'
import { mostWaitingBytes } from '../../src/relay/exchange-line.ts'
import { openForMs } from '../../src/relay/interrupted-sweep.ts'
import { mostBytesOfWorkspace, mostBytesUnderWay } from '../../src/relay/meta-webhook.ts'
import { bounds } from '../../src/server.ts'
import { mostFlows, mostScreens } from '../../src/storage/flows.ts'
import { mostWabas } from '../../src/storage/wabas.ts'
import { mostWebhooks } from '../../src/storage/webhooks.ts'
import { repositoryRoot } from './sources.ts'

const seconds = (ms: number) => `${ms / 1000} s`
const count = (n: number) => n.toLocaleString('en')
const kibibytes = (bytes: number) => `${bytes / 1024} KiB`
const mebibytes = (bytes: number) => `${bytes / 1024 / 1024} MiB`

/** What takes too long to wait for in a test, or too much to fill. */
describe('SECURITY.md gives the bounds of the code', () => {
  const page = readFileSync(join(repositoryRoot, 'SECURITY.md'), 'utf8')
  const { headMs, requestMs, takeMs, untakenBytes, lookEveryMs, connections, pipelined } = bounds

  it.each([
    `a head within ${seconds(headMs)}, a request within ${seconds(requestMs)}, an answer taken within ${seconds(takeMs)}, looked at each second`,
    `${count(connections)} connections, ${pipelined} unanswered requests on each`,
    `answers that are not taken yet hold ${mebibytes(untakenBytes)} together`,
    `bodies on their way in hold ${mebibytes(mostUploadedBytes)} together`,
    `calls whose turn has not come hold ${mebibytes(mostWaitingBytes)} together`,
    `all that are being applied hold ${mebibytes(mostBytesUnderWay)} together, those of one workspace ${mebibytes(mostBytesOfWorkspace)}`,
    `${mostWebhooks} webhooks of a workspace, a static reply of ${kibibytes(staticReplyBounds.bytes)} with ${count(staticReplyBounds.values)} values each`,
    `${count(mostWabas)} WABAs of a workspace, ${count(mostFlows)} flows of each, ${count(mostScreens)} screens in all`,
    `a connection takes no request after ${maxReuseAgeMs / 60_000} min and is closed before 5`,
  ])('%s', (phrase) => {
    expect(page).toContain(phrase)
  })

  it('looked at each second', () => {
    expect(lookEveryMs).toBe(1000)
  })

  it('a connection to a webhook is closed before 5 min', () => {
    const afterwardsMs = Math.max(maxIdleMs, asynchronousDeadlineMs + listenMs)
    expect(maxReuseAgeMs + afterwardsMs).toBeLessThanOrEqual(5 * 60_000)
  })
})

describe('contract.md', () => {
  it('§4: a delivery whose process died is attempted again within 45 s', () => {
    // Attempted from memory: its alarm rings in any case.
    expect(heldMs + pauseMs.idle).toBeLessThanOrEqual(45_000)
    // Taken from the queue: the last sign of life, and one pass may just have been and left the next to another process.
    expect(heartbeatSeconds * 1000 + 2 * superviseMs).toBeLessThanOrEqual(45_000)
  })

  it('§6: the twin of a call waits 10 s for it; only a dead first call frees the key after 60 s', () => {
    expect(waitMs).toBe(10_000)
    // One sign of life may be lost.
    expect(prolongEveryMs * 2).toBeLessThan(60_000)
  })

  it('§8: no row is closed as interrupted whose process still may: the longest deadline, what is in flight, its rows', () => {
    expect(openForMs).toBeGreaterThan(8000 + 5000 + 9000)
  })
})
