import http from 'node:http'
import type { AddressInfo } from 'node:net'

/** Stands before several Relevos and gives each call to one that takes it. */
export interface Balancer {
  readonly url: string
  /** Calls that went to another because the first did not take them. */
  readonly passedOn: number
  close(): Promise<void>
}

/**
 * In turn, over connections that it keeps as a load balancer would. A call that a process refuses, or whose connection it closes before it answers
 * anything, goes to the next: it was not taken.
 */
export async function startBalancer(targets: readonly string[]): Promise<Balancer> {
  const agent = new http.Agent({ keepAlive: true })
  let [turn, passedOn] = [0, 0]
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => forward(Buffer.concat(chunks), turn++, targets.length))

    function forward(body: Buffer, at: number, triesLeft: number): void {
      const url = new URL(request.url ?? '/', targets[at % targets.length])
      const { method, headers } = request
      const passed = http.request(
        url,
        { method, agent, headers: { ...headers, connection: 'keep-alive' } },
        (answer) => {
          const { connection: _, 'keep-alive': __, ...kept } = answer.headers
          response.writeHead(answer.statusCode ?? 502, kept)
          answer.pipe(response)
        },
      )
      passed.on('error', () => {
        if (response.headersSent || triesLeft <= 1) return void response.destroy()
        passedOn++
        forward(body, at + 1, triesLeft - 1)
      })
      passed.end(body)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    get passedOn() {
      return passedOn
    },
    async close() {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
