import { z } from 'zod'
import { listEventTypes } from '../domain/event-catalogue.ts'
import { exampleExchangeId } from './example.ts'
import { listOf, pageMembers, pageOf } from './list.ts'
import { ok, workspaceOperation } from './operation.ts'

const eventTypeBody = z.object({
  event: z.string(),
  description: z.string(),
  answerAwaited: z.boolean().describe("whether the webhook's answer goes back to the phone"),
  schema: z.record(z.string(), z.unknown()).describe('JSON Schema (2020-12) of what the webhook receives'),
  example: z.record(z.string(), z.unknown()),
})

const eventTypes = listEventTypes()
const names: readonly string[] = eventTypes.map(({ event }) => event)

export const list = workspaceOperation({
  summary: 'List all events that webhooks can take',
  example: {
    answer: ok({
      data: [
        {
          event: 'whatsapp.flows.init',
          description: 'A person opened the flow.',
          answerAwaited: true,
          schema: { type: 'object', '…': '…' },
          example: { id: exampleExchangeId, event: 'whatsapp.flows.init', '…': '…' },
        },
      ],
      nextCursor: null,
    }),
  },
  query: z.strictObject(pageMembers(new RegExp(`^(${names.join('|').replaceAll('.', '\\.')})$`))),
  response: { 200: listOf(eventTypeBody) },
  async handle({ query }) {
    const load = async ({ limit, before }: { limit: number; before: string | null }) => {
      const start = before === null ? 0 : names.indexOf(before) + 1
      return eventTypes.slice(start, start + limit)
    }
    const positionOf = ({ event }: { event: string }) => event
    return ok(await pageOf(query, load, positionOf, (eventType) => ({ ...eventType })))
  },
})
