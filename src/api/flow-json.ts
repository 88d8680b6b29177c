import { z } from 'zod'
import { flowJsonSchema, readFlowJson } from '../domain/flow.ts'
import type { JsonObject } from '../domain/json.ts'
import { isPlainText } from './fields.ts'

/** A Flow JSON in a body. Checked, but kept as it came: a schema's own reading would move its members about. */
export const flowJson = z.record(z.string(), z.unknown()).superRefine((document, context) => {
  const result = flowJsonSchema.safeParse(document)
  if (!result.success) {
    for (const { path, message } of result.error.issues) context.addIssue({ code: 'custom', path, message })
    return
  }
  const { jsonVersion, dataApiVersion, screens } = readFlowJson(result.data)
  if (![jsonVersion, dataApiVersion ?? '', ...screens].every(isPlainText)) {
    context.addIssue({ code: 'custom', message: 'must not have NUL characters in versions and screen ids' })
  }
})

/** The members of a flow that its Flow JSON tells. A draft at Meta may hold one that says nothing yet: then all but itself are null. */
export function toldByFlowJson(document: JsonObject | null) {
  const facts = flowJson.safeParse(document).success ? readFlowJson(flowJsonSchema.parse(document)) : null
  return {
    flowJson: document,
    jsonVersion: facts?.jsonVersion ?? null,
    dataApiVersion: facts?.dataApiVersion ?? null,
    screens: facts && [...facts.screens],
    firstScreen: facts?.firstScreen ?? null,
  }
}
