import { z } from 'zod'
import { type FlowJsonFacts, flowJsonBounds, readFlowJson } from '../domain/flow.ts'
import { isObject, type JsonObject } from '../domain/json.ts'
import { isPlainText } from './fields.ts'

/**
 * A Flow JSON in a body, read once: what it tells, and itself as it came (a schema's own reading would move its members about, and find
 * every fault of a document that may have a million).
 */
export const flowJson = z
  .custom<JsonObject>(isObject, 'must be an object')
  .meta({ type: 'object', additionalProperties: {} })
  .transform((document, context) => {
    const { facts, faults } = readFlowJson(document)
    for (const { path, message } of faults) context.addIssue({ code: 'custom', path: [...path], message })
    if (facts !== null && !isStorable(facts)) {
      context.addIssue({ code: 'custom', message: 'must not have NUL characters in versions and screen ids' })
    }
    return toldBy(document, facts)
  })
  .describe(
    `at most ${flowJsonBounds.screens} screens, with ids of at most ${flowJsonBounds.screenIdLength} characters, and ` +
      `${flowJsonBounds.routes} routes in its \`routing_model\``,
  )

/**
 * The members of a flow that its Flow JSON tells. A draft at Meta may hold one that says nothing yet, or one over the bounds: then all
 * but itself are null.
 */
export function toldByFlowJson(document: JsonObject) {
  const { facts } = readFlowJson(document)
  return toldBy(document, facts !== null && isStorable(facts) ? facts : null)
}

/** What a flow knows without a Flow JSON. */
export const toldByNone = toldBy(null, null)

function toldBy(document: JsonObject | null, facts: FlowJsonFacts | null) {
  return {
    flowJson: document,
    jsonVersion: facts?.jsonVersion ?? null,
    dataApiVersion: facts?.dataApiVersion ?? null,
    screens: facts && [...facts.screens],
    firstScreen: facts?.firstScreen ?? null,
  }
}

function isStorable({ jsonVersion, dataApiVersion, screens }: FlowJsonFacts): boolean {
  return [jsonVersion ?? '', dataApiVersion ?? '', ...screens].every(isPlainText)
}
