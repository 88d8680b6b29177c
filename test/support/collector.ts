import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** A span as it came over the wire (OTLP 1, JSON), its attributes read. */
export interface CollectedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly kind: number
  readonly startNs: bigint
  readonly endNs: bigint
  readonly isError: boolean
  readonly attributes: Readonly<Record<string, string | number>>
}

export type CollectorBehaviour = (response: ServerResponse) => void

/** An OpenTelemetry collector on a real socket that takes what OTLP says and nothing else: other calls, members and ids are surprises. */
export interface FakeCollector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string
  readonly spans: readonly CollectedSpan[]
  /** The bodies as they came. */
  readonly bodies: readonly string[]
  readonly resource: Readonly<Record<string, string | number>>
  /** In place of taking what comes, until it is told null. What comes meanwhile is not in `spans`. */
  answer(behaviour: CollectorBehaviour | null): void
  readonly calls: number
  assertNoSurprises(): void
  close(): Promise<void>
}

const spanMembers =
  'traceId spanId parentSpanId flags name kind startTimeUnixNano endTimeUnixNano attributes droppedAttributesCount events droppedEventsCount links droppedLinksCount status'.split(
    ' ',
  )

export async function startCollector(): Promise<FakeCollector> {
  const spans: CollectedSpan[] = []
  const bodies: string[] = []
  const surprises: string[] = []
  const sockets = new Set<Socket>()
  let resource: Record<string, string | number> = {}
  let behaviour: CollectorBehaviour | null = null
  let calls = 0

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { method, url, headers } = request
    calls++
    if (method !== 'POST' || url !== '/v1/traces' || headers['content-type'] !== 'application/json') {
      surprises.push(`unexpected call: ${method} ${url} ${headers['content-type']}`)
    }
    if (behaviour !== null) return behaviour(response)
    const body = Buffer.concat(chunks).toString()
    bodies.push(body)
    for (const group of JSON.parse(body).resourceSpans) {
      resource = attributesOf(group.resource.attributes)
      for (const scope of group.scopeSpans) spans.push(...scope.spans.map(readSpan))
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
  }

  // biome-ignore lint/suspicious/noExplicitAny: what comes over the wire
  function readSpan(span: any): CollectedSpan {
    const unknown = Object.keys(span).filter((name) => !spanMembers.includes(name))
    if (unknown.length > 0) surprises.push(`a span has ${unknown}`)
    if (!/^(?!0{32})[0-9a-f]{32}$/.test(span.traceId)) surprises.push(`trace id ${span.traceId}`)
    if (!/^(?!0{16})[0-9a-f]{16}$/.test(span.spanId)) surprises.push(`span id ${span.spanId}`)
    const { name, traceId, spanId, parentSpanId = '', kind } = span
    const [startNs, endNs] = [BigInt(span.startTimeUnixNano), BigInt(span.endTimeUnixNano)]
    if (endNs < startNs) surprises.push(`${name} ends before it begins`)
    const attributes = attributesOf(span.attributes)
    return { name, traceId, spanId, parentSpanId, kind, startNs, endNs, isError: span.status?.code === 2, attributes }
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error: Error) => surprises.push(`a call failed: ${error.message}`))
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    get resource() {
      return resource
    },
    get calls() {
      return calls
    },
    answer: (next) => {
      behaviour = next
    },
    assertNoSurprises() {
      if (surprises.length > 0) throw new Error(surprises.join('\n'))
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

interface WireAttribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number | string; readonly doubleValue?: number }
}

function attributesOf(attributes: readonly WireAttribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue, doubleValue } }) => [
      key,
      stringValue ?? Number(intValue ?? doubleValue),
    ]),
  )
}
