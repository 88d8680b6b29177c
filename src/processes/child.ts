import type { AppConfig } from '../app/core.ts'
import { type App, createApp } from '../app.ts'
import { endInOrder } from '../closing.ts'
import { heedSignals } from '../end-signals.ts'
import { explain } from '../explain.ts'
import type { MetricsSnapshot } from '../ops/merged-metrics.ts'
import type { FromChild, ToChild } from './messages.ts'

/** How long the page of all metrics waits for the first process, ms. */
const gatherMs = 3000

/** One of several processes behind one port: serves, and ends when it is told to, or when the first process is gone. */
let app: App | null = null
let ending: Promise<unknown> | null = null
let asked = 0
const gathering = new Map<number, (snapshots: readonly MetricsSnapshot[]) => void>()

// A disk that is full, or a reader that is gone, ends no service.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)

const end = () => {
  ending ??= app === null ? Promise.resolve() : app.close()
  return ending
}
const print = (line: string) => {
  process.stdout.write(`${line}\n`)
}
const closing = endInOrder(print, async () => {
  await end()
  return true
})

// Ctrl-C reaches every process: the second one as well.
heedSignals().ending.addEventListener('abort', () => closing.close())
process.on('disconnect', () => void closing.close())
process.on('message', (message: ToChild) => {
  switch (message.kind) {
    case 'start':
      void start(message.config, message.othersServe)
      break
    case 'stop':
      void closing.close()
      break
    case 'take':
      void app?.metricsSnapshot().then((snapshot) => tell({ kind: 'taken', id: message.id, snapshot }))
      break
    case 'gathered':
      gathering.get(message.id)?.(message.snapshots)
      gathering.delete(message.id)
  }
})

async function start(config: AppConfig, othersServe: boolean): Promise<void> {
  const refuse = (line: string, isOfStart: boolean) => {
    tell({ kind: 'refused', line, isOfStart })
    void closing.close()
  }
  app = createApp(config, {
    sharesPort: true,
    listensWhenReady: othersServe,
    gatherMetrics,
    refused: ({ message }) => refuse(message, false),
  })
  try {
    tell({ kind: 'listening', url: await app.listen() })
  } catch (error) {
    const line = explain(error)
    if (line === null) throw error
    refuse(line, true)
  }
}

/** Of all processes; of this one alone where the first does not answer. */
async function gatherMetrics(own: () => Promise<MetricsSnapshot>): Promise<readonly MetricsSnapshot[]> {
  const id = ++asked
  const { promise, resolve } = Promise.withResolvers<readonly MetricsSnapshot[]>()
  gathering.set(id, resolve)
  const timer = setTimeout(() => void own().then((snapshot) => resolve([snapshot])), gatherMs)
  tell({ kind: 'gather', id })
  const snapshots = await promise
  clearTimeout(timer)
  gathering.delete(id)
  return snapshots
}

function tell(message: FromChild): void {
  // Where nobody hears it, `disconnect` comes.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}
