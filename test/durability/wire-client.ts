import { readAnswer } from '../../src/simulator/answer.ts'
import type { MetaClient, MetaClientOptions } from '../../src/simulator/meta-client.ts'
import { readPublicKey, sealRequest } from '../../src/simulator/seal.ts'
import { MetaConnections } from './meta-connections.ts'

/** The simulator's client on plain sockets: load shares its core with the tenants and the database, and `http.request` took most of it. */
export function createWireClient({ endpointUri, publicKeyPem, appSecret }: MetaClientOptions): MetaClient {
  const { port, pathname } = new URL(endpointUri)
  const publicKey = readPublicKey(publicKeyPem)
  const connections = new MetaConnections(Number(port))
  return {
    async exchange({ kind, text }) {
      const { body, signature, openAnswer } = sealRequest(text, publicKey, appSecret)
      const startedAt = performance.now()
      const answer = await connections.send(requestOf(pathname, body, signature))
      const milliseconds = performance.now() - startedAt
      if (typeof answer === 'string')
        return { kind: 'lost', status: null, answer: null, milliseconds, problem: `no answer: ${answer}` }
      return { ...readAnswer(kind, answer, openAnswer), status: answer.status, milliseconds }
    },
    close: () => connections.close(),
  }
}

/** The bytes of one call as Meta makes it. `body`: all ASCII. */
export function requestOf(path: string, body: string, signature: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-hub-signature-256: ${signature}\r\ncontent-length: ${body.length}\r\n\r\n${body}`
}
