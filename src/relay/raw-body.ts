import type { IncomingMessage } from 'node:http'

/** So many times the limit is read and thrown away before the 413, because a sender that is still sending would not see it. */
const drainedTimes = 4

/** The whole body, `too_large`, or `lost` when the connection ended before the body did. */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | 'too_large' | 'lost'> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= maxBytes) chunks.push(chunk)
      else if (bytes > drainedTimes * maxBytes) resolve('too_large')
      else chunks.length = 0
    })
    request.on('end', () => {
      if (bytes > maxBytes) resolve('too_large')
      else resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
    })
    request.on('close', () => resolve('lost'))
    request.on('error', () => resolve('lost'))
  })
}
