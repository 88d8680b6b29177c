import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Certificate } from './certificate.ts'

/** An answer as the proxy passes it on. */
export interface Passed {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface TlsProxy {
  /** `https://localhost:…` */
  readonly url: string
  /** What is made of the answers to POST; the answer itself unless a test says otherwise. */
  change: (passed: Passed) => Passed
  close(): Promise<void>
}

/** The TLS proxy before a Relevo, for tests that need it to be wrong. */
export async function startTlsProxy(certificate: Certificate, target: string): Promise<TlsProxy> {
  const server = https.createServer(certificate, (incoming, response) => {
    const { method = 'GET', headers } = incoming
    const outgoing = http.request(target + incoming.url, { method, headers }, async (answer) => {
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk as Buffer)
      const passed = { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) }
      const { status, headers: sent, body } = method === 'POST' ? proxy.change(passed) : passed
      response.writeHead(status, { ...sent, 'content-length': String(body.length) }).end(body)
    })
    outgoing.on('error', () => response.writeHead(502).end())
    incoming.pipe(outgoing)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const proxy: TlsProxy = {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    change: (passed) => passed,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return proxy
}
