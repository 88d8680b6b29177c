import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { exportPrivateKeyPem, generatePrivateKey, publicKeyPem } from './crypto/flow-key.ts'
import { runDemo } from './demo.ts'
import { explain } from './explain.ts'
import { migrateDatabase, reportMigrations, resealSecrets, serve } from './serve.ts'
import { runSimulate } from './simulator/simulate.ts'

const print = (line: string) => {
  process.stdout.write(`${line}\n`)
}

const relevo = new Command('relevo').description('Relay for WhatsApp Flows: https requests of Meta in, webhooks out')

/** Of no use where nothing can be printed. The others go on: they have a PostgreSQL to stop, and an exit code that tells. */
const printers = ['simulate', 'generate']
let endsWithReader = true
relevo.hook('preAction', (_, command) => {
  endsWithReader = printers.includes(command.name())
})
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (!endsWithReader) return
  // `relevo … | head` closes the pipe: that is the reader's right and no error. A disk that is full is one.
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})
process.stderr.on('error', () => undefined)

relevo
  .command('serve')
  .description('run the service; settings are environment variables')
  .action(() => serve(print))

relevo
  .command('migrate')
  .description('apply pending migrations')
  .option('--plan', 'print the pending ones and what each statement makes others wait for; apply none')
  .option('--status', 'print which are applied and which pending; exit code 1 when some are pending')
  .action(async ({ plan, status }: { plan?: true; status?: true }) => {
    if (plan || status) process.exitCode = await reportMigrations(print, plan ? 'plan' : 'status')
    else await migrateDatabase(print)
  })

relevo
  .command('reseal')
  .description('seal every stored secret anew under MASTER_KEY; run it after the key was rotated, while others serve')
  .action(async () => {
    process.exitCode = await resealSecrets(print)
  })

relevo
  .command('doctor')
  .description('look at a running deployment as Meta does; with the settings of its processes, on one of its machines')
  .option('--json', 'one JSON document in place of lines', false)
  .action(async ({ json }: { json: boolean }) => {
    const { runDoctor } = await import('./doctor.ts')
    process.exitCode = await runDoctor({ json, out: print })
  })

relevo
  .command('demo')
  .description('play the main job on an embedded database, with an example tenant and a simulated Meta')
  .option('--keep', 'leave it running', false)
  .action(async ({ keep }: { keep: boolean }) => {
    process.exitCode = await runDemo({ keep, out: print })
  })

relevo
  .command('simulate')
  .description('play Meta against an endpoint: encrypt, sign, send, decrypt, check')
  .argument('<endpointUri>')
  .requiredOption('--public-key <file>', "the WABA's public key, PEM")
  .requiredOption('--app-secret <secret>', "the Meta app's secret")
  .option(
    '--script <file>',
    'steps to play, JSON: docs/operations.md#simulate; without it those of examples/personalised-offer',
  )
  .option('--rate <n>', 'exchanges per second: load instead of one journey', positive)
  .option('--seconds <n>', 'how long the load lasts', positive)
  // 1 is for an answer that was not as it should be.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : unusableInput))
  .action(async (endpointUri: string, options: SimulateOptions) => {
    const { publicKey, script, rate, seconds } = options
    process.exitCode = await runSimulate({
      endpointUri,
      publicKeyPem: await readText(publicKey, '--public-key'),
      appSecret: options.appSecret,
      ...(script === undefined ? {} : { scriptText: await readText(script, '--script') }),
      ...(rate === undefined ? {} : { rate }),
      ...(seconds === undefined ? {} : { seconds }),
      out: print,
    })
  })

const keys = relevo.command('keys').description('flow keys')

keys
  .command('generate')
  .description('make an RSA-2048 pair and print both halves as PEM')
  .option('--passphrase <text>', 'encrypt the private half', notEmpty)
  .action(async ({ passphrase }: { passphrase?: string }) => {
    const flowKey = await generatePrivateKey()
    print(exportPrivateKeyPem(flowKey, passphrase).trimEnd())
    print(publicKeyPem(flowKey).trimEnd())
  })

interface SimulateOptions {
  readonly publicKey: string
  readonly appSecret: string
  readonly script?: string
  readonly rate?: number
  readonly seconds?: number
}

/** The exit code of `simulate` for input that cannot be used. */
const unusableInput = 2

/** A file that cannot be read: one line for the person, no stack trace. */
class FileUnreadable extends Error {}

async function readText(file: string, option: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new FileUnreadable(`${option}: cannot read ${file} (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** An empty variable of the shell, say: what is printed would not be encrypted at all. */
function notEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('must not be empty')
  return text
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('must be a number above 0')
  return value
}

try {
  await relevo.parseAsync()
} catch (error) {
  const line = error instanceof FileUnreadable ? error.message : explain(error)
  if (line === null) throw error
  process.stderr.write(`${line}\n`)
  process.exitCode = error instanceof FileUnreadable ? unusableInput : 1
}
