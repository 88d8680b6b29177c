import { readAnswer } from '../../src/simulator/answer.ts'
import type { Message } from '../../src/simulator/message.ts'
import type { MetaClient, MetaClientOptions } from '../../src/simulator/meta-client.ts'
import { readPublicKey, type SealedRequest, sealRequest } from '../../src/simulator/seal.ts'
import { MetaConnections } from './meta-connections.ts'

export interface WireClient extends MetaClient {
  /** Seals a message that is sent later: then that takes nothing from those who share the core. */
  sealAhead(message: Message): void
}

/** The simulator's client on plain sockets: load shares its core with the tenants and the database, and `http.request` took most of it. */
export function createWireClient({ endpointUri, publicKeyPem, appSecret }: MetaClientOptions): WireClient {
  const { port, pathname } = new URL(endpointUri)
  const publicKey = readPublicKey(publicKeyPem)
  const connections = new MetaConnections(Number(port))
  const ahead = new WeakMap<Message, SealedRequest>()
  const seal = ({ text }: Message) => sealRequest(text, publicKey, appSecret)
  return {
    sealAhead: (message) => void ahead.set(message, seal(message)),
    async exchange(message) {
      const { body, signature, openAnswer } = ahead.get(message) ?? seal(message)
      const startedAt = performance.now()
      const answer = await connections.send(requestOf(pathname, body, signature))
      const milliseconds = performance.now() - startedAt
      if (typeof answer === 'string')
        return { kind: 'lost', status: null, answer: null, milliseconds, problem: `no answer: ${answer}` }
      return { ...readAnswer(message.kind, answer, openAnswer), status: answer.status, milliseconds }
    },
    close: () => connections.close(),
  }
}

/** The bytes of one call as Meta makes it. `body`: all ASCII. */
export function requestOf(path: string, body: string, signature: string): string {
  return `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-hub-signature-256: ${signature}\r\ncontent-length: ${body.length}\r\n\r\n${body}`
}
