import { expect, test } from 'vitest'
import { z } from 'zod'
import { faultsOf, inputProblem, problemOf } from '../../../src/api/problem.ts'
import { ApiError } from '../../../src/domain/errors.ts'
import { StorageError } from '../../../src/storage/database.ts'

test.each([
  [new ApiError('waba_taken', 'x'), 'waba_taken'],
  [new StorageError('read', 'ECONNREFUSED', null), 'database_unavailable'],
  [new StorageError('read', '57P01', null), 'database_unavailable'],
  [new StorageError('update', '55P03', null), 'database_unavailable'],
  [new StorageError('update', '40P01', null), 'database_unavailable'],
  [new StorageError('insert', '23503', 'some_fk'), 'not_found'],
  [new StorageError('insert', '22021', null), 'internal_error'],
  [Object.assign(new Error(), { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', statusCode: 415 }), 'unsupported_media_type'],
  [Object.assign(new Error('Unexpected token'), { statusCode: 400 }), 'invalid_input'],
  [new Error('inner'), 'internal_error'],
  [undefined, 'internal_error'],
])('%s becomes %s', (error, code) => {
  const problem = problemOf(error)
  expect(problem.code).toBe(code)
  expect(problem.message).not.toMatch(/inner|Unexpected|some_fk/)
})

test('faults have dotted paths; each unknown member is one', () => {
  const schema = z.strictObject({ list: z.array(z.strictObject({ id: z.string() })) })
  const result = schema.safeParse({ list: [{ id: 5, other: 1 }], more: 1, [`${'n'.repeat(200)}`]: 1 })
  expect(result.error && Array.from(faultsOf(result.error), (fault) => fault.path)).toEqual([
    'list.0.id',
    'list.0.other',
    'more',
    'n'.repeat(100),
  ])
})

test('the detail names the first fault and counts the others', () => {
  const fault = (path: string) => ({ path, message: 'is wrong' })
  expect(inputProblem([fault('')]).message).toBe('the body: is wrong')
  expect(inputProblem([fault('a.b'), fault('c')]).message).toBe('a.b: is wrong (and 1 more)')
  const many = inputProblem(Array.from({ length: 50 }, () => fault('a')))
  expect(many.faults).toHaveLength(20)
  expect(many.message).toBe('a: is wrong (and at least 20 more)')
})
