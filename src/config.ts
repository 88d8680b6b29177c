import { z } from 'zod'
import { readMasterKeys } from './crypto/sealed-secret.ts'
import { readNetwork } from './egress/address.ts'
import { logLevels } from './ops/logger.ts'
import { readHosts } from './storage/hosts.ts'

/** Says in one line which variables are missing or wrong, without their values. */
export class ConfigInvalid extends Error {}

const truth = z.enum(['true', 'false']).transform((value) => value === 'true')
const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= min && value <= max, `must be from ${min} to ${max}`)
const list = (item: (value: string) => unknown, message: string) =>
  z
    .string()
    .transform((value) =>
      value
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    )
    .refine((parts) => parts.every((part) => !throws(() => item(part))), message)
const postgresUrl = z
  .string()
  .refine((value) => /^postgres(ql)?:\/\/./.test(value), { error: 'must begin with postgres://', abort: true })
  .superRefine((value, context) => {
    const fault = thrownBy(() => readHosts(value))
    if (fault !== null) context.addIssue(fault)
  })
  .optional()
const httpUrl = z
  .string()
  .refine((value) => /^https?:$/.test(protocolOf(value)), 'must be an http or https URL')
  .transform((value) => value.replace(/\/+$/, ''))

/** What a process does: contract.md §6. */
export const roles = ['all', 'relay', 'api', 'worker'] as const

/** Every variable: its check, its default (as written in the environment; null: none) and what it means. */
const variables = {
  DATABASE_URL: {
    check: postgresUrl,
    default: null,
    shownDefault: 'embedded',
    meaning:
      '`postgres://…`, several hosts allowed ([database.md](database.md)). Unset: an embedded PostgreSQL under `DATA_DIR`',
  },
  DATABASE_DIRECT_URL: {
    check: postgresUrl,
    default: null,
    shownDefault: 'DATABASE_URL',
    meaning: 'the same database past a pooler, for LISTEN and migrations: both need a session of their own',
  },
  DATABASE_BACKEND: {
    check: z.enum(['postgres', 'citus']),
    default: 'postgres',
    meaning:
      '`citus`: `DATABASE_URL`, which is required then, is the coordinator of a Citus cluster, over which `migrate` distributes the tables',
  },
  DATABASE_PREPARE: {
    check: truth,
    default: 'true',
    meaning: '`false` for PgBouncer older than 1.21 in transaction mode',
  },
  DATA_DIR: { check: z.string().min(1), default: '.relevo', meaning: 'embedded database, generated keys, spool' },
  HOST: { check: z.string().min(1), default: '127.0.0.1', meaning: 'address to listen on' },
  PORT: { check: whole(0, 65_535), default: '8080', meaning: 'port to listen on; 0 = any, the bound URL is printed' },
  PUBLIC_URL: {
    check: httpUrl.optional(),
    default: null,
    shownDefault: 'http://HOST:PORT',
    meaning: 'base of the endpoint URIs handed to Meta',
  },
  MASTER_KEY: {
    check: z
      .string()
      .refine((value) => !throws(() => readMasterKeys(value)), 'must be base64 of 32 bytes')
      .optional(),
    default: null,
    meaning: 'base64 of 32 bytes; seals stored secrets. Required with `DATABASE_URL`, else made under `DATA_DIR`',
  },
  MASTER_KEYS_PREVIOUS: {
    check: list((value) => readMasterKeys(value), 'must be base64 of 32 bytes, comma-separated'),
    default: '',
    meaning: 'comma-separated; accepted for opening, never used for sealing',
  },
  ADMIN_TOKEN: {
    // What src/api/caller.ts reads of a header: another token would start, and nobody could ever send it.
    check: z
      .string()
      .regex(/^[\x21-\x7e]*$/, 'must be ASCII without spaces')
      .min(32, 'must be at least 32 characters')
      .max(1000, 'must be at most 1000 characters')
      .optional(),
    default: null,
    meaning:
      "the operator's bearer token, 32 to 1000 characters, ASCII without spaces. Required with `DATABASE_URL`, else made under `DATA_DIR`",
  },
  META_APP_SECRETS: {
    check: list(() => undefined, ''),
    default: '',
    meaning: "comma-separated secrets of the platform's own Meta apps, accepted on every WABA besides its own",
  },
  META_VERIFY_TOKEN: {
    check: z.string().optional(),
    default: null,
    meaning: "what Meta sends to verify the webhook of the platform's own app (`/api/whatsapp/webhook`). Unset: 403",
  },
  META_SIGNATURE: {
    check: z.enum(['required', 'off']),
    default: 'required',
    meaning: '`off` accepts unsigned calls: development only, warned about at each start',
  },
  GRAPH_API_URL: {
    check: httpUrl,
    default: 'https://graph.facebook.com',
    meaning: "base of Meta's Graph API. Trusted: the address guard is not asked",
  },
  GRAPH_API_VERSION: {
    check: z.string().regex(/^v\d{1,3}\.\d{1,2}$/, 'must be a version such as v25.0'),
    default: 'v25.0',
    meaning: 'version of the Graph API',
  },
  DEADLINE_MS: { check: whole(1, 8000), default: '700', meaning: 'ms for a webhook to answer an exchange' },
  ENRICHMENT_BUDGET_MS: {
    check: whole(0, 5000),
    default: '100',
    meaning:
      'ms to read client, conversation and flow response; past it the records are sent as null. 0: nothing is read',
  },
  WEBHOOK_USER_AGENT: {
    check: z.string().regex(/^[\x20-\x7e]+$/, 'must be printable ASCII'),
    default: 'Platica-Webhooks/1.0',
    meaning: '`User-Agent` of requests to webhooks',
  },
  WEBHOOK_ALLOW_HTTP: { check: truth, default: 'false', meaning: 'allow `http:` webhook URLs' },
  WEBHOOK_ALLOWED_NETWORKS: {
    check: list((value) => readNetwork(value), 'must be CIDRs, comma-separated, such as 127.0.0.0/8'),
    default: '',
    meaning: 'CIDRs exempt from the address guard, e.g. `127.0.0.0/8`',
  },
  WORKERS: {
    check: whole(1, 64),
    default: '1',
    meaning:
      'processes of this machine behind one port, each with its own 19 connections to the database; more than 1 where the kernel can share a port (Linux, FreeBSD)',
  },
  ROLE: {
    check: z.enum(roles),
    default: 'all',
    meaning:
      "`relay`: Meta's calls; `api`: `/v1`; `worker`: asynchronous deliveries and upkeep; `all`: one process does everything. Without `DATABASE_URL` those of one `DATA_DIR` share its database",
  },
  API_RATE_LIMIT: {
    check: whole(1, 1_000_000),
    default: '30',
    meaning: 'requests per second per API key, in each process',
  },
  PAYLOAD_RETENTION_DAYS: {
    check: whole(1, 3650),
    default: '7',
    meaning: 'days until what was sent and answered is emptied; outcomes and times stay',
  },
  LOG_RETENTION_DAYS: {
    check: whole(1, 3650),
    default: '30',
    meaning:
      'days until exchanges, deliveries and attempts are dropped, a whole day (UTC) at a time, and their statistics, after 6 days at the earliest; more than 130 need more locks of the database: database.md',
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    check: httpUrl.optional(),
    default: null,
    shownDefault: 'off',
    meaning: 'an OpenTelemetry collector (OTLP over HTTP), such as `http://localhost:4318`: traces are sent there',
  },
  OTEL_TRACES_SAMPLER_ARG: {
    check: z
      .string()
      .regex(/^(0(\.\d{1,6})?|1(\.0{1,6})?)$/, 'must be a share from 0 to 1')
      .transform(Number),
    default: '1',
    meaning: 'share of traces that are recorded, 0 to 1, where traces are on',
  },
  LOG_LEVEL: { check: z.enum(logLevels), default: 'info', meaning: `one of ${logLevels.join(', ')}` },
} as const satisfies Record<string, Variable>

interface Variable {
  readonly check: z.ZodType<unknown, unknown>
  readonly default: string | null
  readonly shownDefault?: string
  readonly meaning: string
}

export type Config = { readonly [Name in keyof typeof variables]: z.output<(typeof variables)[Name]['check']> }
export type Environment = Readonly<Record<string, string | undefined>>

const schema = z.object(
  Object.fromEntries(Object.entries(variables).map(([name, variable]) => [name, variable.check])),
) as unknown as z.ZodType<Config>

/** Reads the settings. Throws ConfigInvalid, whose one line names every variable that is missing, short or wrong. */
export function readConfig(environment: Environment = process.env): Config {
  const given = Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => [
      name,
      // An empty variable counts as unset (contract.md §2).
      environment[name] || (variable.default ?? undefined),
    ]),
  )
  const read = schema.safeParse(given)
  const faults = new Map(read.error?.issues.map((issue) => [String(issue.path[0]), plain(issue)]))
  if (given.DATABASE_URL === undefined) {
    if (given.DATABASE_DIRECT_URL !== undefined) faults.set('DATABASE_URL', 'is required with DATABASE_DIRECT_URL')
    if (given.DATABASE_BACKEND === 'citus') faults.set('DATABASE_URL', 'is required with DATABASE_BACKEND=citus')
  }
  if (given.DATABASE_URL !== undefined || faults.has('DATABASE_URL')) {
    for (const name of ['MASTER_KEY', 'ADMIN_TOKEN']) {
      if (given[name] === undefined) faults.set(name, 'is required with DATABASE_URL')
    }
  }
  if (!read.success || faults.size > 0) {
    throw new ConfigInvalid([...faults].map(([name, fault]) => `${name} ${fault}`).join('; '))
  }
  return read.data
}

/** The page docs/configuration.md, made from the same list. */
export function describeConfig(): string {
  const rows = Object.entries(variables).map(([name, variable]: [string, Variable]) => {
    const shown = variable.shownDefault ?? (variable.default || '–')
    return `| \`${name}\` | ${shown === '–' ? shown : `\`${shown}\``} | ${variable.meaning} |`
  })
  return [
    '# Settings',
    '',
    '<!-- Made from src/config.ts by `npm run docs`; `npm run check` fails when it drifts. -->',
    '',
    'Environment variables. An empty variable counts as unset. A missing, short or wrong value stops the start with one line',
    'that names every such variable.',
    '',
    '| variable | default | meaning |',
    '| --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

/** zod's own messages may repeat what was given; only those written above are shown. */
function plain(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.join(', ')}`
  return issue.message.startsWith('must ') ? issue.message : 'is not valid'
}

function protocolOf(value: string): string {
  return URL.parse(value)?.protocol ?? ''
}

function throws(run: () => unknown): boolean {
  return thrownBy(run) !== null
}

/** The message, or null. */
function thrownBy(run: () => unknown): string | null {
  try {
    run()
    return null
  } catch (error) {
    return (error as Error).message
  }
}
