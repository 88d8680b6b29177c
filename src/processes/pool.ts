import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { AppConfig } from '../app/core.ts'
import { StartRefused } from '../app/start-refused.ts'
import type { App, AppOptions } from '../app.ts'
import { EndedBadly, endSignals } from '../end-signals.ts'
import { GatheredMetrics } from '../ops/gathered-metrics.ts'
import { createLog, type Log } from '../ops/logger.ts'
import { claimPort } from './free-port.ts'
import type { FromChild, ToChild } from './messages.ts'

/** Until one that ended is started again: the first time, and the longest, ms. Twice as long each time that one ends young. */
const restartMs = { first: 100, longest: 10_000 }
/** One that served so long was not ended by its start. */
const youngMs = 60_000
/** Those that do not end within this are killed, ms: longer than they allow themselves, shorter than supervisors do. */
const endMs = 29_000

const childFile = fileURLToPath(new URL('./child.ts', import.meta.url))
const runtime = fileURLToPath(new URL('../runtime.ts', import.meta.url))

interface Child {
  readonly process: ChildProcess
  listens: boolean
  readonly startedAt: number
  readonly ended: Promise<unknown>
}

/**
 * Several processes behind one port, each a whole app of this process's role (docs/adr/0008-several-processes.md). The kernel shares connections out;
 * this process only starts them, starts those anew that end, and adds up their metrics.
 */
export class ProcessPool implements Pick<App, 'listen' | 'close'> {
  readonly #config: AppConfig
  readonly #refused: (reason: StartRefused) => void
  readonly #log: Log
  readonly #metrics = new GatheredMetrics<ChildProcess>((process, id) => say(process, { kind: 'take', id }))
  readonly #children = new Set<Child>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #listening = Promise.withResolvers<string>()
  #port = 0
  #isServing = false
  #isStopping = false
  /** How many ended young, one after the other. */
  #youngEnds = 0
  #failed = 0

  constructor(config: AppConfig, { refused = () => undefined, logDestination }: AppOptions = {}) {
    this.#config = config
    this.#refused = refused
    this.#log = createLog(config.LOG_LEVEL, logDestination)
  }

  /** Starts all. Returns the URL once each of them listens. Throws StartRefused with the first line that one of them ends with. */
  async listen(): Promise<string> {
    const { HOST, PORT, WORKERS } = this.#config
    // Nobody waits for it yet where one of these cannot be started: the others end then.
    this.#listening.promise.catch(() => undefined)
    this.#port = await claimPort(HOST, PORT)
    for (let index = 0; index < WORKERS; index++) this.#start()
    const url = await this.#listening.promise
    this.#isServing = true
    return url
  }

  /** Tells all to end, each by its own rules, and kills who does not. Throws EndedBadly when one did not end well. */
  async close(): Promise<number> {
    this.#isStopping = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { process } of this.#children) say(process, { kind: 'stop' })
    const kill = setTimeout(() => {
      this.#log.error({ processes: this.#children.size }, 'processes do not end in time and are killed')
      for (const { process } of this.#children) process.kill('SIGKILL')
    }, endMs)
    await Promise.all([...this.#children].map(({ ended }) => ended))
    clearTimeout(kill)
    if (this.#failed > 0) throw new EndedBadly(`${this.#failed} process(es) did not end well`)
    return 0
  }

  #start(): void {
    const started = fork(childFile, [], {
      serialization: 'advanced',
      execArgv: [...process.execArgv, '--import', runtime],
    })
    const ended = once(started, 'exit').catch(() => undefined)
    const child: Child = { process: started, listens: false, startedAt: performance.now(), ended }
    const othersServe = [...this.#children].some(({ listens }) => listens)
    this.#children.add(child)
    this.#metrics.add(started)
    started.on('message', (message: FromChild) => this.#hear(child, message))
    started.on('error', (error) => this.#log.error({ error }, 'a process cannot be started or reached'))
    void child.ended.then(() => this.#ended(child))
    say(started, { kind: 'start', config: { ...this.#config, PORT: this.#port }, othersServe })
  }

  #hear(child: Child, message: FromChild): void {
    const { process } = child
    switch (message.kind) {
      case 'listening':
        child.listens = true
        if ([...this.#children].filter(({ listens }) => listens).length === this.#config.WORKERS) {
          this.#listening.resolve(message.url)
        }
        if (this.#isServing)
          this.#log.info({ process: process.pid }, 'a process was started in place of one that ended')
        break
      case 'refused':
        this.#refusedBy(process, message)
        break
      case 'gather':
        void this.#metrics.gather().then((snapshots) => say(process, { kind: 'gathered', id: message.id, snapshots }))
        break
      case 'taken':
        this.#metrics.took(process, message.id, message.snapshot)
    }
  }

  #refusedBy({ pid }: ChildProcess, { line, isOfStart }: Extract<FromChild, { kind: 'refused' }>): void {
    if (!this.#isServing) this.#listening.reject(new StartRefused(line))
    // While others serve, one that cannot start is tried again; a database that does not fit fits nobody.
    else if (isOfStart) this.#log.error({ process: pid, reason: line }, 'a process cannot be started')
    else if (!this.#isStopping) this.#refused(new StartRefused(line))
  }

  #ended(child: Child): void {
    const { exitCode: code, signalCode: signal } = child.process
    // One that could not be reached may live.
    child.process.kill('SIGKILL')
    this.#children.delete(child)
    this.#metrics.remove(child.process)
    // Ctrl-C reaches it before it heeds signals, and may be seen of it before it is seen here: nothing was lost.
    const isUnbegun = !child.listens && endSignals.some((name) => name === signal)
    if (this.#isStopping && code !== 0 && !isUnbegun) {
      this.#log.error({ process: child.process.pid, code, signal }, 'a process did not end well')
      this.#failed++
    } else if (!this.#isServing && !isUnbegun) {
      this.#listening.reject(new StartRefused(`a process ended with ${code ?? signal} before it listened`))
    } else if (!this.#isStopping) this.#startAnew(child)
  }

  #startAnew(child: Child): void {
    const { exitCode: code, signalCode: signal, pid } = child.process
    const isYoung = performance.now() - child.startedAt <= youngMs
    const pauseMs = this.#startLater(isYoung)
    this.#log.error({ process: pid, code, signal, pauseMs }, 'a process ended and is started anew')
    this.#metrics.restarted()
  }

  /** Returns the pause before, ms. */
  #startLater(isYoung: boolean): number {
    this.#youngEnds = isYoung ? this.#youngEnds + 1 : 0
    const pauseMs = Math.min(restartMs.longest, restartMs.first * 2 ** Math.max(0, this.#youngEnds - 1))
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      try {
        this.#start()
      } catch (error) {
        // No memory for it, say. The others go on.
        this.#log.error({ error, pauseMs: this.#startLater(true) }, 'a process cannot be started')
      }
    }, pauseMs)
    this.#timers.add(timer)
    return pauseMs
  }
}

/** To one that is gone: its `exit` comes. */
function say(child: ChildProcess, message: ToChild): void {
  if (child.connected) child.send(message, () => undefined)
}
