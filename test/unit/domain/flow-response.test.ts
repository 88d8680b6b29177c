import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  afterCompletion,
  afterConfirmation,
  afterExchange,
  defaultLifetimeMs,
  type FlowResponse,
  firstSeen,
  isFinal,
  isSharedToken,
} from '../../../src/domain/flow-response.ts'

const start = Date.UTC(2030, 0, 1)
const at = (ms: number) => new Date(start + ms)

/** A row as a tenant registers it when it sends the flow. */
const sent = (more: Partial<FlowResponse> = {}): FlowResponse => ({
  ...firstSeen('fr_1', 'a-token', null, at(0)),
  status: 'SENT',
  sentAt: at(0),
  openedAt: null,
  lastActivityAt: null,
  ...more,
})

describe('a flow token', () => {
  it('seen for the first time is in progress, opened now, and lives 24 hours', () => {
    expect(firstSeen('fr_1', 'a-token', 'flow_1', at(5))).toEqual({
      id: 'fr_1',
      flowToken: 'a-token',
      flowId: 'flow_1',
      status: 'IN_PROGRESS',
      sentAt: null,
      openedAt: at(5),
      lastActivityAt: at(5),
      completedAt: null,
      expiresAt: at(5 + defaultLifetimeMs),
      clientId: null,
      conversationId: null,
      messageId: null,
      campaignId: null,
      agentId: null,
      channelId: null,
    })
    expect(defaultLifetimeMs).toBe(86_400_000)
  })

  it('that was sent is opened by its first exchange and keeps what its tenant told', () => {
    const before = sent({ clientId: 'client_1', messageId: 'm' })
    expect(afterExchange(before, 'flow_1', at(10))).toEqual({
      ...before,
      flowId: 'flow_1',
      status: 'IN_PROGRESS',
      openedAt: at(10),
      lastActivityAt: at(10),
    })
  })

  it('keeps its first opening and its first flow', () => {
    const opened = afterExchange(sent({ flowId: 'flow_1' }), 'flow_2', at(10))
    expect(afterExchange(opened, 'flow_3', at(20))).toMatchObject({
      flowId: 'flow_1',
      openedAt: at(10),
      lastActivityAt: at(20),
    })
  })

  it('expires at expiresAt, to the millisecond', () => {
    const before = sent({ expiresAt: at(100) })
    expect(afterExchange(before, null, at(99)).status).toBe('IN_PROGRESS')
    expect(afterExchange(before, null, at(100))).toMatchObject({
      status: 'EXPIRED',
      openedAt: null,
      lastActivityAt: at(100),
    })
  })

  it('is completed once', () => {
    const completed = afterCompletion(afterExchange(sent(), null, at(10)), at(20))
    expect(completed).toMatchObject({ status: 'COMPLETED', completedAt: at(20) })
    expect(afterCompletion(completed, at(30))).toBe(completed)
  })

  it('that expired is not completed', () => {
    const expired = afterExchange(sent({ expiresAt: at(1) }), null, at(1))
    expect(afterCompletion(expired, at(2))).toBe(expired)
  })
})

describe('any course of events', () => {
  const step = fc.record({
    kind: fc.constantFrom('exchange' as const, 'completion' as const),
    // Clocks of several processes differ: time may step back.
    ms: fc.integer({ min: -1000, max: 200_000 }),
    flowId: fc.option(fc.constantFrom('flow_1', 'flow_2')),
  })
  const beginning = fc.record({
    status: fc.constantFrom('SENT' as const, 'IN_PROGRESS' as const, 'COMPLETED' as const, 'EXPIRED' as const),
    expiresAt: fc.integer({ min: 0, max: 150_000 }).map(at),
    lastActivityAt: fc.option(fc.nat(1000).map(at)),
  })

  /** contract.md §4 in its own words: only these four things ever move, and the flow until it ends. */
  function model(state: FlowResponse, kind: 'exchange' | 'completion', now: Date): Partial<FlowResponse> {
    const done = state.status === 'COMPLETED' || state.status === 'EXPIRED'
    if (kind === 'completion') return done ? {} : { status: 'COMPLETED', completedAt: now }
    const lastActivityAt = new Date(Math.max(state.lastActivityAt?.getTime() ?? now.getTime(), now.getTime()))
    if (done) return { lastActivityAt }
    if (now.getTime() >= state.expiresAt.getTime()) return { lastActivityAt, status: 'EXPIRED' }
    return { lastActivityAt, status: 'IN_PROGRESS', openedAt: state.openedAt ?? now }
  }

  it('follows the model; final states stay, lastActivityAt never goes back, nothing is changed in place', () => {
    fc.assert(
      fc.property(beginning, fc.array(step, { maxLength: 30 }), (first, steps) => {
        let state = Object.freeze(sent(first))
        for (const { kind, ms, flowId } of steps) {
          const now = at(ms)
          const expected = { ...state, ...model(state, kind, now) }
          if (kind === 'exchange' && !isFinal(state.status)) expected.flowId = state.flowId ?? flowId
          const next = Object.freeze(
            kind === 'exchange' ? afterExchange(state, flowId, now) : afterCompletion(state, now),
          )
          expect(next).toEqual(expected)
          if (isFinal(state.status)) expect(next.status).toBe(state.status)
          expect(Number(next.lastActivityAt)).toBeGreaterThanOrEqual(Number(state.lastActivityAt))
          state = next
        }
      }),
    )
  })
})

describe('tokens that strangers share', () => {
  it.each(['unused', 'flows-builder-', 'flows-builder-1a2b3c4d'])('%s is one', (flowToken) => {
    expect(isSharedToken(flowToken)).toBe(true)
  })

  it.each(['', 'Unused', 'unused ', 'unused-1', 'flows-builder', 'my-flows-builder-1', 'my_flow_token'])(
    '%j is not',
    (flowToken) => {
      expect(isSharedToken(flowToken)).toBe(false)
    },
  )
})

describe('a confirmed completion', () => {
  const links = { flowId: 'flow_9', clientId: 'client_9', conversationId: 'conv_9', messageId: 'm9', channelId: 'ch_9' }

  it('completes what is open, at its own time, and links what nobody told', () => {
    const before = sent({ clientId: 'client_1' })
    const after = { ...before, ...links, clientId: 'client_1', lastActivityAt: at(7), completedAt: at(7) }
    expect(afterConfirmation(before, links, at(7))).toEqual({ ...after, status: 'COMPLETED' })
  })

  it('of a token past its time finds it expired', () => {
    const { expiresAt } = sent()
    expect(afterConfirmation(sent(), links, expiresAt)).toMatchObject({ status: 'EXPIRED', completedAt: null })
    const justBefore = new Date(expiresAt.getTime() - 1)
    expect(afterConfirmation(sent(), links, justBefore)).toMatchObject({ status: 'COMPLETED', completedAt: justBefore })
  })

  it('changes nothing when it comes again, nor what is final, whatever else happens between', () => {
    const step = fc.tuple(fc.constantFrom('exchange', 'completion', 'confirmation'), fc.nat(2 * defaultLifetimeMs))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        let state = sent()
        for (const [kind, ms] of steps) {
          const before = state
          if (kind === 'exchange') state = afterExchange(state, 'flow_1', at(ms))
          else if (kind === 'completion') state = afterCompletion(state, at(ms))
          else state = afterConfirmation(state, links, at(ms))
          if (kind === 'confirmation') {
            expect(isFinal(state.status)).toBe(true)
            expect(afterConfirmation(state, links, at(ms))).toEqual(state)
          }
          if (isFinal(before.status)) {
            const { status, completedAt, openedAt } = before
            expect(state).toMatchObject({ status, completedAt, openedAt })
          }
        }
      }),
    )
  })
})
