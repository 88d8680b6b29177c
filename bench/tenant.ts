import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A tenant that answers at once, in a process of its own, so that none of its work is counted as Relevo's. */
const answer = '{"screen":"NEXT","data":{"greeting":"hello"}}'
const headers = { 'Content-Type': 'application/json', 'Content-Length': String(answer.length) }

const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, headers).end(answer))
})
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
