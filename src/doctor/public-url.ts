import { isIP } from 'node:net'
import tls from 'node:tls'
import { type Finding, findingsOf } from './finding.ts'
import { codeOf, type Probed, probe } from './probe.ts'

const reachable = findingsOf('reachable')
const certificate = findingsOf('tls')

/** Calls the exchange route as a stranger would: contract.md §3 has GET as 405, whoever asks. */
export async function checkReachable(publicUrl: URL): Promise<{ finding: Finding; answer: Probed }> {
  const answer = await probe(exchangeRoute(publicUrl, '0'), { method: 'GET' })
  return { finding: judge(answer), answer }
}

/** The route that Meta calls for a WABA. */
export function exchangeRoute(publicUrl: URL, wabaId: string): URL {
  return new URL(`${publicUrl.href.replace(/\/$/, '')}/api/whatsapp/flows/${wabaId}/data`)
}

const adviceOnCodes: Readonly<Record<string, string>> = {
  ENOTFOUND: 'make a DNS record for the name in PUBLIC_URL',
  EAI_AGAIN: 'the name server does not answer: try again, then look at DNS',
  ECONNREFUSED: 'nothing listens there: is the proxy running, and Relevo behind it?',
  ECONNRESET: 'something cut the connection: look at the log of the proxy',
  timeout: 'a firewall swallows the connection, or Relevo does not answer the proxy',
}

function judge(answer: Probed): Finding {
  if (!answer.ok) {
    const advice = adviceOnCodes[answer.code] ?? 'look at the proxy, DNS and the firewall before Relevo'
    return reachable.fail(`no answer (${answer.code})`, advice)
  }
  const { status, milliseconds } = answer
  if (status === 405) return reachable.ok(`the exchange route answers in ${milliseconds.toFixed(0)} ms`)
  const advice =
    status >= 500
      ? 'the proxy does not reach Relevo: is a relay running and ready (/readyz)?'
      : 'something else answers at PUBLIC_URL: send /api/whatsapp/ to a process with ROLE relay or all'
  return reachable.fail(`GET on the exchange route gives ${status} instead of 405`, advice)
}

export interface TlsOptions {
  /** Authorities besides the public ones; for tests. */
  readonly ca?: string | undefined
  readonly now?: number
}

/** Certificates renew themselves well before; one that is so close has not. */
const warnDays = 14
const handshakeMs = 10_000
const dayMs = 86_400_000

/** Meta calls https with publicly trusted certificates only (protocol.md 1.1). */
export async function checkTls(publicUrl: URL, options: TlsOptions = {}): Promise<Finding> {
  if (publicUrl.protocol !== 'https:') {
    const isLocal = /^(localhost|127\..*|\[::1\])$/.test(publicUrl.hostname)
    const advice = 'Meta calls https only: put a proxy with a public certificate in front and set PUBLIC_URL'
    return certificate[isLocal ? 'warn' : 'fail']('PUBLIC_URL is http', advice)
  }
  const shaken = await shakeHands(publicUrl, options.ca)
  if (typeof shaken === 'string') {
    const isElsewhere = adviceOnCodes[shaken] !== undefined
    const advice = isElsewhere ? 'see reachable' : 'look at the proxy: it must speak TLS 1.2 or newer there'
    return certificate.fail(`no TLS connection (${shaken})`, advice)
  }
  return judgeCertificate(shaken, options.now ?? Date.now())
}

interface Handshake {
  /** Null: a chain to an authority that Node.js knows, for this name, at this time. */
  readonly refusal: string | null
  readonly validTo: string
  readonly protocol: string
}

const adviceOnRefusals: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'intermediate certificates are missing: give the proxy the full chain',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'intermediate certificates are missing, or its authority is not a public one',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed: Meta wants one of a public authority',
  SELF_SIGNED_CERT_IN_CHAIN: 'its authority is not a public one',
  CERT_HAS_EXPIRED: 'renew it',
  CERT_NOT_YET_VALID: 'it is not valid yet, or a clock is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another name than that in PUBLIC_URL',
}

function judgeCertificate({ refusal, validTo, protocol }: Handshake, now: number): Finding {
  if (refusal !== null) {
    const advice = adviceOnRefusals[refusal] ?? 'Meta wants one that a public authority vouches for'
    return certificate.fail(`the certificate is not accepted (${refusal})`, advice)
  }
  const days = Math.floor((Date.parse(validTo) - now) / dayMs)
  const message = `${protocol}, full chain, the certificate ends in ${days} days`
  return days < warnDays ? certificate.warn(message, 'renew it: does the renewal work?') : certificate.ok(message)
}

/** Looks at whatever certificate is shown. A code where there is no handshake. */
function shakeHands(url: URL, ca: string | undefined): Promise<Handshake | string> {
  const { promise, resolve } = Promise.withResolvers<Handshake | string>()
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const socket = tls.connect({
    host,
    port: Number(url.port || 443),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    rejectUnauthorized: false,
    ...(ca === undefined ? {} : { ca: [...tls.rootCertificates, ca] }),
  })
  const timer = setTimeout(() => end('timeout'), handshakeMs)
  const end = (result: Handshake | string) => {
    clearTimeout(timer)
    socket.destroy()
    resolve(result)
  }
  socket.once('error', (error) => end(codeOf(error)))
  socket.once('secureConnect', () => {
    const shown = socket.getPeerCertificate()
    const untrusted = socket.authorized ? null : String(socket.authorizationError)
    const misnamed = tls.checkServerIdentity(host, shown)
    const refusal = untrusted ?? (misnamed === undefined ? null : codeOf(misnamed))
    end({ refusal, validTo: shown.valid_to, protocol: socket.getProtocol() ?? 'TLS' })
  })
  return promise
}
