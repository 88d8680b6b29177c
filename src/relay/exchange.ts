import {
  type OpenedRequest,
  openRequest,
  readSealedRequest,
  type SealedRequest,
  sealAnswer,
} from '../crypto/flow-cipher.ts'
import { verifyMetaSignature } from '../crypto/meta-signature.ts'
import { ExchangeRefused } from '../domain/errors.ts'
import { classifyAction, type FlowRequest } from '../domain/exchange.ts'
import { acknowledged } from '../domain/fallback.ts'
import { newUuid } from '../domain/ids.ts'
import { decodeUtf8, hasTooManyValues, isTooDeep, maxExchangeValues, parseJsonObject } from '../domain/json.ts'
import { outcomes, type Refusal } from '../domain/outcome.ts'
import type { Log } from '../ops/logger.ts'
import type { Metrics } from '../ops/metrics.ts'
import { PacedLines } from '../ops/paced-lines.ts'
import type { Traces } from '../ops/traces.ts'
import type { Announcer } from './announcer.ts'
import type { Account, Directory } from './directory.ts'
import type { AnswerEnding } from './ending.ts'
import type { ErrorNotices, Report } from './error-notices.ts'
import type { ExchangeLine, ShedReason } from './exchange-line.ts'
import type { FlowWatch } from './flow-watch.ts'
import type { Forwarding } from './forward.ts'
import { ExchangeLedger } from './ledger.ts'
import type { Recorder } from './recorder.ts'
import { type Earlier, type MetaAnswer, Repeats } from './repeats.ts'
import { Stopwatch } from './stopwatch.ts'
import { unaskedEnding } from './unasked.ts'

/** One call of Meta, as received. */
export interface MetaCall {
  readonly wabaId: string
  /** Named by the second route only. */
  readonly metaFlowId: string | null
  /** The exact bytes: nothing may re-encode them before the signature is checked (protocol.md 1.6). Let go of by who waits for another's answer. */
  body: Buffer
  readonly signature: string | undefined
  /** When it came, and when the last of its body did: performance.now(). */
  readonly startedAt: number
  readonly completeAt: number
}

export interface ExchangeParts {
  readonly directory: Directory
  readonly line: ExchangeLine
  readonly forward: Forwarding
  readonly errorNotices: ErrorNotices
  readonly recorder: Recorder
  readonly announcer: Announcer
  readonly metrics: Metrics
  /** Null or left out: off. */
  readonly traces?: Traces | null
  readonly flows?: FlowWatch
  readonly log: Log
  /** The platform's own app secrets, accepted on every WABA besides its own. */
  readonly platformAppSecrets: readonly string[]
  readonly signatureRequired: boolean
}

/** Within the line's promise, which would else be that of the answer. */
interface Opened {
  readonly answer: MetaAnswer | Promise<MetaAnswer>
}

const noBytes = Buffer.alloc(0)
const active = '{"data":{"status":"active"}}'
const refused = (outcome: Refusal): MetaAnswer => ({ status: outcomes[outcome].status, body: '' })
const refuse = (outcome: Refusal): never => {
  throw new ExchangeRefused(outcome)
}

/** The relay's story: one call of Meta in, one answer out, exactly one outcome. Never rejects. */
export class Exchange {
  readonly #parts: ExchangeParts
  readonly #repeats = new Repeats(() => performance.now())
  readonly #refusalLines = new PacedLines(() => performance.now())
  readonly #secretlessSince = new Map<string, number>()

  constructor(parts: ExchangeParts) {
    this.#parts = parts
  }

  /** The account a call is for, before its body is read. Null: the call is to be refused with the outcome. */
  admit(wabaId: string): Account | Refusal {
    const { directory } = this.#parts
    return directory.waba(wabaId) ?? (directory.loaded ? 'unknown_waba' : 'unavailable')
  }

  async answer(call: MetaCall): Promise<MetaAnswer> {
    const watch = new Stopwatch(call.startedAt)
    const account = this.admit(call.wabaId)
    if (typeof account === 'string') return this.refuse(account, call.wabaId, call.startedAt)
    try {
      // How long its body took to come is its sender's.
      watch.skip()
      this.#verify(account, call)
      watch.lap('verify')
      const place = { workspaceId: account.workspaceId, bytes: call.body.length, at: call.completeAt }
      const { answer } = await this.#parts.line.enter(place, (shed) => this.#open(account, call, watch, shed))
      return await answer
    } catch (error) {
      return this.#refuseOpened(error, account, watch, call)
    }
  }

  /**
   * The part that costs: its place is in the line. `shed`: the webhook is not to be asked. A repetition's answer may still be to come: who waits for
   * it has left the line, and holds nothing of its call, because no bound says how many do.
   */
  async #open(account: Account, call: MetaCall, watch: Stopwatch, shed: ShedReason | null): Promise<Opened> {
    watch.skip()
    let sealed: SealedRequest | null = readSealedRequest(call.body) ?? refuse('malformed')
    const name = Repeats.nameOf(call.wabaId, sealed)
    const earlier = this.#repeats.find(name)
    if (earlier !== null) {
      call.body = noBytes
      sealed = null
      return { answer: this.#repeat(earlier, account, watch) }
    }
    const { ids, keys } = account.flowKeys()
    const opened = openRequest(sealed, keys) ?? refuse('undecryptable')
    this.#parts.metrics.flowKeyUsed(ids[opened.flowKeyIndex] ?? 'unknown')
    const text = decodeUtf8(opened.plaintext) ?? refuse('undecryptable')
    // Not even parsed: the event loop would stand still for it.
    const isTooMuch = hasTooManyValues(text, maxExchangeValues)
    const body = isTooMuch ? {} : (parseJsonObject(text) ?? refuse('undecryptable'))
    watch.lap('decrypt')
    const request = classifyAction(body)
    const ledger = this.#ledger(account, watch, request)
    const answer =
      isTooMuch || isTooDeep(text)
        ? this.#answerUnread(ledger, opened, request, call.metaFlowId)
        : this.#answerOpened(ledger, opened, () => this.#decide(ledger, request, opened, call.metaFlowId, shed))
    // No await since find: two copies of one call cannot both get here.
    this.#repeats.keep(name, answer, request)
    return { answer: await answer }
  }

  /** Ends a call that is not served and leaves no row. */
  refuse(outcome: Refusal, wabaId: string, startedAt: number): MetaAnswer {
    const { metrics, log } = this.#parts
    const ms = performance.now() - startedAt
    metrics.exchangeEnded(outcome, ms)
    const { level } = outcomes[outcome]
    // Anybody can make such calls, as many as they like.
    const paced = level === 'debug' ? {} : this.#refusalLines.take()
    if (paced !== null) log[level]({ wabaId: wabaId.slice(0, 64), outcome, ms: Math.round(ms), ...paced }, 'exchange')
    return refused(outcome)
  }

  #verify(account: Account, call: MetaCall): void {
    if (!this.#parts.signatureRequired) return
    const appSecrets = [...account.appSecrets(), ...this.#parts.platformAppSecrets]
    if (appSecrets.length === 0) this.#complainOfNoSecret(account)
    if (!verifyMetaSignature(call.body, call.signature, appSecrets)) refuse('bad_signature')
  }

  /** Once a minute for each WABA: anybody can make this call. */
  #complainOfNoSecret({ wabaId, workspaceId }: Account): void {
    const now = performance.now()
    if (now - (this.#secretlessSince.get(wabaId) ?? Number.NEGATIVE_INFINITY) < 60_000) return
    this.#secretlessSince.set(wabaId, now)
    const hint =
      'no app secret is known for this WABA: add one to it, or set META_APP_SECRETS; every call is refused with 432'
    this.#parts.log.error({ wabaId, workspaceId }, hint)
  }

  /** After decryption every call ends here, with an encrypted answer, whatever happens on the way. */
  async #answerOpened(
    ledger: ExchangeLedger,
    opened: OpenedRequest,
    decide: () => AnswerEnding | Promise<AnswerEnding>,
  ): Promise<MetaAnswer> {
    let ending: AnswerEnding = { outcome: 'internal_error', text: acknowledged }
    try {
      ending = await decide()
    } catch (error) {
      this.#parts.log.error({ error, exchangeId: ledger.id }, 'an exchange failed inside Relevo')
    }
    ledger.watch.skip()
    const body = sealAnswer(ending.text, opened.aesKey, opened.initialVector)
    ledger.watch.lap('encrypt')
    await ledger.end(ending)
    return { status: outcomes[ending.outcome].status ?? 200, body }
  }

  /** Nothing of such a call goes further: no webhook, no JSON of ours is to hold it. */
  #answerUnread(
    ledger: ExchangeLedger,
    opened: OpenedRequest,
    request: FlowRequest,
    metaFlowId: string | null,
  ): Promise<MetaAnswer> {
    const end = { outcome: 'internal_error' } as const
    return this.#answerOpened(ledger, opened, () =>
      request.kind === 'exchange'
        ? unaskedEnding({ ledger, request, metaFlowId }, end)
        : { ...end, text: acknowledged },
    )
  }

  #decide(
    ledger: ExchangeLedger,
    request: FlowRequest,
    { plaintext }: OpenedRequest,
    metaFlowId: string | null,
    shed: ShedReason | null,
  ): AnswerEnding | Promise<AnswerEnding> {
    switch (request.kind) {
      case 'ping':
        return { outcome: 'answered_locally', text: active }
      case 'error_notification':
        return this.#acknowledge({ ledger, request, plaintext, metaFlowId })
      case 'unknown_action':
        return { outcome: 'unknown_action', text: unknownActionAnswer(request.screen) }
      case 'exchange':
        if (shed === null) return this.#parts.forward.ask({ ledger, request, plaintext, metaFlowId })
        this.#parts.metrics.exchangeShed(shed)
        return unaskedEnding({ ledger, request, metaFlowId }, { outcome: 'overloaded', reason: shed })
    }
  }

  async #acknowledge(report: Report): Promise<AnswerEnding> {
    await this.#parts.errorNotices.learn(report)
    return { outcome: 'answered_locally', text: acknowledged }
  }

  async #repeat(earlier: Earlier, account: Account, watch: Stopwatch): Promise<MetaAnswer> {
    const ledger = this.#ledger(account, watch, earlier.facts)
    const answer = await earlier.answer
    await ledger.end({ outcome: 'repeated', text: null })
    return answer
  }

  async #refuseOpened(error: unknown, account: Account, watch: Stopwatch, call: MetaCall): Promise<MetaAnswer> {
    if (!(error instanceof ExchangeRefused)) {
      this.#parts.log.error({ error, wabaId: call.wabaId }, 'a call failed inside Relevo before it was opened')
    }
    // Nothing can be encrypted yet. 421 makes the phone try once more with a fresh key (protocol.md 1.7); a 5xx would not.
    const outcome = error instanceof ExchangeRefused ? error.outcome : 'undecryptable'
    if (outcome !== 'undecryptable') return this.refuse(outcome, call.wabaId, call.startedAt)
    await this.#ledger(account, watch, null).end({ outcome, text: null })
    return refused(outcome)
  }

  #ledger(account: Account, watch: Stopwatch, request: FlowRequest | null): ExchangeLedger {
    const now = new Date()
    return new ExchangeLedger(this.#parts, { id: newUuid(now.getTime()), now, account, watch, request })
  }
}

function unknownActionAnswer(screen: string | null): string {
  if (screen === null) return acknowledged
  return JSON.stringify({ screen, data: { error_message: 'This action is not supported.' } })
}
