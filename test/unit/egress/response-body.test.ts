import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ResponseBody } from '../../../src/egress/response-body.ts'

const bytes = fc.uint8Array({ maxLength: 100 }).map((array) => Buffer.from(array))

it('is what came, in memory of its own', () => {
  fc.assert(
    fc.property(fc.array(bytes), (chunks) => {
      const read = Buffer.concat(chunks)
      const body = new ResponseBody()
      let at = 0
      for (const { length } of chunks) {
        body.add(read.subarray(at, at + length))
        at += length
      }
      const whole = Buffer.from(read)
      read.fill(0)
      expect(body.bytes.equals(whole)).toBe(true)
    }),
  )
})

it('weighs its bytes, and no less than 16 for each chunk, kept or not', () => {
  const body = new ResponseBody()
  expect(body.weight).toBe(0)
  body.add(Buffer.alloc(100))
  body.add(Buffer.alloc(1))
  body.pass(Buffer.alloc(1))
  body.pass(Buffer.alloc(17))
  expect([body.weight, body.bytes.length]).toEqual([149, 101])
})
