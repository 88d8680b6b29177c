import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** What a tenant puts on the wire for one call, with nothing in between that would mend it. */
export interface Script {
  readonly pieces: readonly { readonly bytes: Uint8Array; readonly pauseMs: number }[]
  /** What becomes of the connection then. `hang`: it stays, whatever is missing; `keep` is the same for an answer that is whole. */
  readonly end: 'keep' | 'hang' | 'fin' | 'rst'
}

export interface ReceivedCall {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** A webhook on bare sockets. It remembers no calls. */
export interface ScriptedTenant {
  readonly url: string
  /** The answer to the call with this flow token. */
  answer(flowToken: string, script: Script): void
  /** Must be called when the exchange is over. */
  forget(flowToken: string): void
  close(): Promise<void>
}

const reply = (status: string, body: string): Script => ({
  pieces: [{ bytes: Buffer.from(`HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\n\r\n${body}`), pauseMs: 0 }],
  end: 'keep',
})
export const goodReply = reply('200 OK', '{"screen":"NEXT","data":{}}')
const noted = reply('204 No Content', '').pieces[0]?.bytes.toString().replace('content-length: 0\r\n', '')
const notedScript: Script = { pieces: [{ bytes: Buffer.from(noted ?? ''), pauseMs: 0 }], end: 'keep' }

/** `/told` takes what it is told of; any other path gets the script, else a good reply. `judge` sees each call before it is answered. */
export async function startScriptedTenant(judge: (call: ReceivedCall) => void): Promise<ScriptedTenant> {
  const scripts = new Map<string, Script>()
  const sockets = new Set<Socket>()

  const answer = async (socket: Socket, call: ReceivedCall): Promise<void> => {
    judge(call)
    const flowToken = call.headers['x-webhook-resource-id'] ?? ''
    const script = call.path === '/told' ? notedScript : (scripts.get(flowToken) ?? goodReply)
    for (const { bytes, pauseMs } of script.pieces) {
      if (pauseMs > 0) await delay(pauseMs)
      if (!socket.destroyed) socket.write(bytes)
    }
    if (script.end === 'fin') socket.end()
    if (script.end === 'rst') socket.resetAndDestroy()
  }

  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    let received: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      const read = readCall(received)
      if (read === null) return
      received = received.subarray(read.end)
      void answer(socket, read.call)
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (flowToken, script) => void scripts.set(flowToken, script),
    forget: (flowToken) => void scripts.delete(flowToken),
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Relevo's own requests are whole and have a length. */
function readCall(bytes: Buffer): { readonly call: ReceivedCall; readonly end: number } | null {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return null
  const [requestLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  const end = headEnd + 4 + Number(headers['content-length'] ?? 0)
  if (bytes.length < end) return null
  return {
    call: { path: requestLine.split(' ')[1] ?? '', headers, body: Buffer.from(bytes.subarray(headEnd + 4, end)) },
    end,
  }
}
