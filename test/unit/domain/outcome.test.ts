import { describe, expect, it } from 'vitest'
import { ApiError, apiErrorCodes, ExchangeRefused, invalidInput } from '../../../src/domain/errors.ts'
import { isFallback, type Outcome, outcomeNames, outcomes } from '../../../src/domain/outcome.ts'

/** contract.md §3 "Outcomes", and its table for the statuses. */
const answers = { replied: 200, answered_locally: 200, token_refused: 427, unknown_action: 200, repeated: null }
const fallbacks = [
  'no_webhook',
  'timeout',
  'connect_failed',
  'connection_lost',
  'address_blocked',
  'tls_failed',
  'bad_status',
  'not_json',
  'invalid_reply',
  'reply_too_large',
  'breaker_open',
  'overloaded',
  'internal_error',
]
const refusals = {
  unknown_waba: 404,
  unavailable: 503,
  body_too_large: 413,
  bad_signature: 432,
  malformed: 400,
  undecryptable: 421,
}

describe('the closed list', () => {
  it('is that of the contract, each with its status to Meta', () => {
    const expected = { ...answers, ...Object.fromEntries(fallbacks.map((name) => [name, 200])), ...refusals }
    expect(Object.fromEntries(outcomeNames.map((name) => [name, outcomes[name].status]))).toEqual(expected)
  })

  it('tells answers, fallbacks and refusals apart', () => {
    const ofKind = (kind: string) => outcomeNames.filter((name) => outcomes[name].kind === kind)
    expect(ofKind('answer')).toEqual(Object.keys(answers))
    expect(ofKind('fallback')).toEqual(fallbacks)
    expect(ofKind('refusal')).toEqual(Object.keys(refusals))
    expect(outcomeNames.filter(isFallback)).toEqual(fallbacks)
  })

  it('has one 5xx', () => {
    expect(outcomeNames.filter((name) => (outcomes[name].status ?? 0) >= 500)).toEqual(['unavailable'])
  })

  it('logs as errors what is our own fault, and no others', () => {
    const isLoud = (name: Outcome) => outcomes[name].level === 'error'
    expect(outcomeNames.filter(isLoud)).toEqual(outcomeNames.filter((name) => outcomes[name].fault === 'relevo'))
  })
})

describe('errors that are thrown on purpose', () => {
  it('name a refusal', () => {
    expect(new ExchangeRefused('bad_signature')).toMatchObject({ outcome: 'bad_signature', message: 'bad_signature' })
  })

  it('name a member of the input, never its value', () => {
    const error = invalidInput('url', 'must begin with https://')
    expect(error).toBeInstanceOf(ApiError)
    expect(error).toMatchObject({
      code: 'invalid_input',
      message: 'url: must begin with https://',
      faults: [{ path: 'url', message: 'must begin with https://' }],
    })
    expect(apiErrorCodes[error.code][0]).toBe(400)
  })
})
