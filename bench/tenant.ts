import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** `node bench/tenant.ts [bytes]`: a tenant that answers at once, in a process of its own, so that none of its work is counted as Relevo's. */
const more = 'x'.repeat(Number(process.argv[2] ?? 0))
const answer = `{"screen":"NEXT","data":{"greeting":"hello${more}"}}`
const headers = { 'Content-Type': 'application/json', 'Content-Length': String(answer.length) }

const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, headers).end(answer))
})
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
