import { createServer, type Socket } from 'node:net'

/**
 * `node test/durability/wire-tenant.ts [bytes]`: a tenant that answers at once, with so many bytes besides, in a process of its own, so that none of its work is counted
 * as Relevo's. On plain sockets: beside load and database on the other core, `node:http` takes what the load could use. At `/after/20` it takes 20 ms; at
 * `/silent` it takes requests and never answers.
 */
const more = 'x'.repeat(Number(process.argv[2] ?? 0))
const body = `{"screen":"NEXT","data":{"greeting":"hello${more}"}}`
const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
const answer = () =>
  `${head}Content-Length: ${body.length}\r\nDate: ${new Date().toUTCString()}\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n${body}`

const server = createServer((socket: Socket) => {
  let received = ''
  socket.setNoDelay().setEncoding('latin1')
  socket.on('error', () => undefined)
  socket.on('data', (text: string) => {
    received += text
    const headEnd = received.indexOf('\r\n\r\n')
    if (headEnd < 0) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(received)?.[1])
    if (received.length < headEnd + 4 + length) return
    const [, thinksMs] = /^POST \/after\/(\d+) /.exec(received) ?? []
    const isSilent = received.startsWith('POST /silent ')
    received = received.slice(headEnd + 4 + length)
    if (isSilent) return
    if (thinksMs === undefined) socket.write(answer())
    else setTimeout(() => socket.write(answer()), Number(thinksMs))
  })
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(`listening on http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`)
})
// Whoever started it may be killed.
const parent = process.ppid
setInterval(() => process.ppid !== parent && process.exit(), 1000).unref()
