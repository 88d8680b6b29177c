import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { Uploads } from '../../../src/ops/uploads.ts'
import { collectGarbage } from '../../support/garbage.ts'

const upload = () => new PassThrough() as unknown as IncomingMessage & PassThrough
const settled = () => new Promise(setImmediate)

describe('bodies on their way in', () => {
  it('together hold a bounded amount of memory: the oldest is cut, the newest comes through', async () => {
    const uploads = new Uploads(10_000)
    const [old, young] = [upload(), upload()]
    const bodies = [uploads.read(old, 20_000), uploads.read(young, 20_000)]
    old.write(Buffer.alloc(6000))
    young.write(Buffer.alloc(6000))
    await settled()
    expect(await bodies[0]).toBe('lost')
    expect(old.destroyed).toBe(true)
    young.end(Buffer.alloc(1))
    expect(await bodies[1]).toHaveLength(6001)
    expect(uploads.bytes).toBe(0)
  })

  it('that come byte by byte count by what they really take', async () => {
    const uploads = new Uploads(10_000)
    const body = upload()
    const read = uploads.read(body, 20_000)
    for (let at = 0; at < 100; at++) {
      body.write('x')
      await settled()
    }
    expect(await read).toBe('lost')
    expect(uploads.bytes).toBe(0)
  })

  it('once whole hold nothing more: their requests live until they are answered', async () => {
    const uploads = new Uploads(20_000)
    const request = upload()
    const read = uploads.read(request, 20_000)
    const write = (end: boolean) => {
      const piece = Buffer.alloc(5000)
      if (end) request.end(piece)
      else request.write(piece)
      return new WeakRef(piece)
    }
    const pieces = [write(false), write(true)]
    expect(await read).toHaveLength(10_000)
    await settled()
    collectGarbage()
    expect(pieces.map((piece) => piece.deref())).toEqual([undefined, undefined])
    expect(request.listenerCount('data')).toBe(1)
  })

  it('past their limit hold nothing', async () => {
    const uploads = new Uploads(10_000)
    const body = upload()
    const read = uploads.read(body, 5000)
    body.write(Buffer.alloc(6000))
    await settled()
    expect(uploads.bytes).toBe(0)
    body.end()
    expect(await read).toBe('too_large')
  })
})
