import { describe, expect, test } from 'vitest'
import { describeError } from '../../../src/ops/logger.ts'
import { StorageError, storing } from '../../../src/storage/database.ts'

class Refused extends Error {
  readonly code = '23505'
  readonly constraint_name = 'webhooks_pkey'
  readonly detail = 'Key (id)=(a-value) already exists.'
}

async function insertWebhook(): Promise<void> {
  await storing('insert webhook', async () => {
    throw new Refused('a-value is there already')
  })
}

describe('what is told of an error', () => {
  test('of the database: what was asked of it, its code and constraint, and who asked; none of its words', async () => {
    const error = await insertWebhook().catch((thrown: unknown) => thrown)
    const { at, ...told } = describeError(error)
    expect(told).toEqual({
      name: 'StorageError',
      operation: 'insert webhook',
      code: '23505',
      constraint: 'webhooks_pkey',
    })
    expect(at).toContain('insertWebhook')
    expect(JSON.stringify(describeError(error))).not.toContain('a-value')
  })

  test('a connection has its own codes, and what has none is unknown', () => {
    expect(describeError(new StorageError('read', 'ECONNREFUSED', null))).toMatchObject({ code: 'ECONNREFUSED' })
    expect(describeError(new StorageError('read', null, null))).toMatchObject({ operation: 'read', code: 'unknown' })
    expect(describeError(new StorageError('read', null, null))).not.toHaveProperty('constraint')
  })

  test('members that are no strings are left out, and messages always', () => {
    const members = { code: 7, operation: { sql: 'a-value' }, constraint: null }
    const { at, ...told } = describeError(Object.assign(new TypeError('a-value'), members))
    expect(told).toEqual({ name: 'TypeError' })
    expect(at).toMatch(/^at .*logger\.test\.ts/)
    expect(describeError('a-value')).toEqual({ name: 'string' })
  })
})

test.each([
  [null, true],
  ['timeout', true],
  ['ECONNREFUSED', true],
  ['CONNECTION_CLOSED', true],
  ['EPIPE', true],
  ['08006', true],
  ['3D000', false],
  ['28P01', false],
  ['53300', false],
  ['42P01', false],
])('%s: the database did not answer is %s', (code, unanswered) => {
  expect(new StorageError('read', code, null).unanswered).toBe(unanswered)
})

test.each([
  ['timeout', true],
  ['CONNECTION_CLOSED', true],
  ['ECONNRESET', true],
  ['08006', true],
  ['57P01', true],
  ['ECONNREFUSED', false],
  ['CONNECT_TIMEOUT', false],
  ['CONNECTION_ENDED', false],
  ['08001', false],
  ['40001', false],
  ['57P03', false],
  [null, false],
])('%s: the database may have carried it out is %s', (code, mayHaveHappened) => {
  expect(new StorageError('insert', code, null).mayHaveHappened).toBe(mayHaveHappened)
})
