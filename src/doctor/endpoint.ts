import { randomBytes } from 'node:crypto'
import { readAnswer } from '../simulator/answer.ts'
import { ping } from '../simulator/journey.ts'
import { writeMessage } from '../simulator/message.ts'
import { readPublicKey, type SealedRequest, sealRequest } from '../simulator/seal.ts'
import { type Finding, findingsOf } from './finding.ts'
import { type Probed, probe } from './probe.ts'
import { exchangeRoute } from './public-url.ts'

/** A WABA as Meta has it. */
export interface Endpoint {
  readonly wabaId: string
  /** SPKI PEM of the newest active key; null: none opens. */
  readonly publicKey: string | null
  /** One that calls are signed with; null: none is known. */
  readonly appSecret: string | null
}

const pings = findingsOf('ping')
const signatures = findingsOf('signature')

/** Meta's target (protocol.md 1.8); a ping asks no webhook. */
const slowMs = 1000

/** Meta's health check: an encrypted, signed ping to the endpoint URI, whose answer must decrypt. */
export async function checkPing(publicUrl: URL, { wabaId, publicKey, appSecret }: Endpoint): Promise<Finding> {
  const named = `WABA ${wabaId}`
  if (publicKey === null) return pings.fail(`${named} has no flow key that opens`, 'see master-key')
  if (appSecret === null) {
    const advice = `POST /v1/wabas/${wabaId}/app-secrets with the secret of the Meta app, or set META_APP_SECRETS`
    return pings.fail(`${named} has no app secret, so every call is refused with 432`, advice)
  }
  const sealed = sealPing(publicKey, appSecret)
  return judgePing(named, sealed, await post(publicUrl, wabaId, sealed.body, sealed.signature))
}

const adviceOnStatuses: Readonly<Record<number, string>> = {
  404: 'the process that answers does not know it: does the proxy lead to this installation?',
  413: 'the proxy has a smaller limit for bodies than 1 MiB',
  421: 'the process that answers holds other flow keys: is its database another one?',
  432: 'the process that answers holds other app secrets, or the proxy changes bodies: they must pass byte for byte',
  502: 'the proxy does not reach a relay',
  503: 'no relay has its keys loaded: is the database reachable?',
  504: 'a relay does not answer the proxy in time',
}

function judgePing(named: string, sealed: SealedRequest, answer: Probed): Finding {
  if (!answer.ok) return pings.fail(`${named}: no answer (${answer.code})`, 'see reachable')
  const { status, milliseconds } = answer
  if (status !== 200) {
    return pings.fail(`${named}: status ${status}`, adviceOnStatuses[status] ?? 'look at what answers at PUBLIC_URL')
  }
  const { problem } = readAnswer('ping', answer, (body) => sealed.openAnswer(body))
  if (problem !== null) return pings.fail(`${named}: ${problem}`, 'does the proxy change bodies or headers?')
  if (milliseconds > slowMs) {
    const advice = 'Meta wants answers under 1 s: look at load and at the way to the relay'
    return pings.warn(`${named}: answered in ${milliseconds.toFixed(0)} ms`, advice)
  }
  return pings.ok(`${named}: answered in ${milliseconds.toFixed(0)} ms`)
}

/** What is not signed, or not with a known secret, must be refused with 432 (contract.md §3). */
export async function checkSignature(publicUrl: URL, endpoint: Endpoint): Promise<Finding> {
  if (endpoint.publicKey === null) return signatures.warn('not checked', 'there is no flow key that opens')
  const sealed = sealPing(endpoint.publicKey, randomBytes(32).toString('hex'))
  for (const [kind, signature] of [
    ['unsigned', null],
    ['wrongly signed', sealed.signature],
  ] as const) {
    const answer = await post(publicUrl, endpoint.wabaId, sealed.body, signature)
    if (!answer.ok) return signatures.fail(`no answer to an ${kind} call (${answer.code})`, 'see reachable')
    if (answer.status === 200) {
      const advice = 'set META_SIGNATURE=required: now anybody may invent calls'
      return signatures.fail(`an ${kind} call is answered`.replace('an w', 'a w'), advice)
    }
    if (answer.status !== 432) {
      const advice = 'clients know only 432: does the proxy change statuses?'
      return signatures.fail(`status ${answer.status} instead of 432 to an ${kind} call`.replace('an w', 'a w'), advice)
    }
  }
  return signatures.ok('calls without a good signature are refused with 432')
}

function sealPing(publicKey: string, appSecret: string): SealedRequest {
  return sealRequest(writeMessage(ping, '').text, readPublicKey(publicKey), appSecret)
}

function post(publicUrl: URL, wabaId: string, body: string, signature: string | null): Promise<Probed> {
  const signed = signature === null ? {} : { 'x-hub-signature-256': signature }
  const headers = { 'content-type': 'application/json', ...signed }
  return probe(exchangeRoute(publicUrl, wabaId), { method: 'POST', headers, body })
}
