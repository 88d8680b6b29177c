import { z } from 'zod'
import { type AuditEntry, listAuditEntries } from '../storage/audit-log.ts'
import type { Page } from '../storage/workspaces.ts'
import { exampleId, exampleList, exampleTime } from './example.ts'
import { iso, isoTime, since, text, until } from './fields.ts'
import { listOf, pageMembers } from './list.ts'
import { logPageOf, pageMayBeShort } from './log-page.ts'
import { ok, workspaceOperation } from './operation.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

const auditEntryBody = z
  .object({
    id: z.string(),
    createdAt: isoTime,
    actor: z.string().describe('`operator`, or the id of the API key'),
    action: z.string().describe('method and path pattern, such as `PATCH /v1/webhooks/:id`'),
    resourceId: z.string().nullable().describe('what the call made or was about'),
    members: z.array(z.string()).describe('names of the members that the body gave; values are not kept'),
    status: z.int().nullable().describe('of the answer; null while the call runs, or if its process died'),
  })
  .meta({ id: 'AuditEntry' })

const example = {
  id: '0196a0b0-5c00-7000-8000-0000000000a1',
  createdAt: exampleTime,
  actor: exampleId('apiKey'),
  action: 'POST /v1/clients',
  resourceId: exampleId('client'),
  members: ['phoneNumber', 'name'],
  status: 201,
}

function bodyOf(entry: AuditEntry): z.input<typeof auditEntryBody> {
  return { ...entry, createdAt: iso(entry.createdAt) }
}

export const list = workspaceOperation({
  summary: 'List the changes that were made through the API',
  description:
    'Every call other than a GET that was authenticated, allowed and valid, whatever came of it. The operator reads his own changes outside ' +
    `of workspaces, such as making one, with \`X-Workspace-Id: operator\`. ${pageMayBeShort}`,
  reachesOutside: true,
  example: { query: { action: example.action }, answer: ok(exampleList(example)) },
  query: z.strictObject({
    ...pageMembers(uuid),
    actor: text(100).optional(),
    action: text(300).optional(),
    since: since.optional(),
    until: until.optional(),
  }),
  response: { 200: listOf(auditEntryBody) },
  async handle({ deps, workspaceId, query }) {
    const load = (page: Page) => listAuditEntries(deps.database, workspaceId, page, query)
    return ok(await logPageOf(query, load, bodyOf))
  },
})
