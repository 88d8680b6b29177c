import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** Stands before several Relevos and gives each call to one that takes it. */
export interface Balancer {
  readonly url: string
  /** Calls that went to another because the first did not take them. */
  readonly passedOn: number
  close(): Promise<void>
}

export interface BalancerOptions {
  /** Asked of each target ten times a second: one that does not answer 200 gets no calls while others do. */
  readonly healthPath?: string
  /**
   * Which calls go to another: `refused`, those whose connection was refused, so that nobody can have taken them; `unanswered`, as a balancer does
   * that keeps its connections, also those whose connection closed before it answered anything.
   */
  readonly passesOn: 'refused' | 'unanswered'
}

/** In turn. `targetsOf`: who may get the calls of a path. */
export async function startBalancer(
  targetsOf: (path: string) => readonly string[],
  { healthPath, passesOn }: BalancerOptions,
): Promise<Balancer> {
  const agent = new http.Agent({ keepAlive: passesOn === 'unanswered' })
  const health = healthPath === undefined ? null : new Health(healthPath)
  let [turn, passedOn] = [0, 0]
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    const path = request.url ?? '/'
    const all = targetsOf(path)
    const well = health === null ? all : health.wellOf(all)
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => forward(Buffer.concat(chunks), turn++, well.length))

    function forward(body: Buffer, at: number, triesLeft: number): void {
      const { method, headers } = request
      const connection = passesOn === 'unanswered' ? 'keep-alive' : 'close'
      const options = { method, agent, headers: { ...headers, connection } }
      const passed = http.request(new URL(path, well[at % well.length]), options, (answer) => {
        const { connection: _, 'keep-alive': __, ...kept } = answer.headers
        response.writeHead(answer.statusCode ?? 502, kept)
        answer.on('error', () => response.destroy())
        answer.pipe(response)
      })
      passed.on('error', ({ code }: NodeJS.ErrnoException) => {
        const isTaken = passesOn === 'refused' && code !== 'ECONNREFUSED'
        if (isTaken || response.headersSent || triesLeft <= 1) return void response.destroy()
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
      await health?.close()
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Who is well, as far as it was asked. */
class Health {
  readonly #path: string
  readonly #isWell = new Map<string, boolean>()
  readonly #stopping = new AbortController()
  readonly #asking: Promise<void>[] = []

  constructor(path: string) {
    this.#path = path
  }

  /** All, where none is known to be well. */
  wellOf(targets: readonly string[]): readonly string[] {
    for (const target of targets) if (!this.#isWell.has(target)) this.#watch(target)
    const well = targets.filter((target) => this.#isWell.get(target))
    return well.length === 0 ? targets : well
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#asking)
  }

  #watch(target: string): void {
    this.#isWell.set(target, false)
    const { signal } = this.#stopping
    const ask = async () => {
      while (!signal.aborted) {
        const within = AbortSignal.any([signal, AbortSignal.timeout(1000)])
        const answer = await fetch(target + this.#path, { signal: within }).catch(() => null)
        await answer?.body?.cancel()
        this.#isWell.set(target, answer?.status === 200)
        await delay(100, undefined, { signal }).catch(() => undefined)
      }
    }
    this.#asking.push(ask())
  }
}
