import { z } from 'zod'
import type { Route } from './routes.ts'

/** `/v1/webhooks/:id` as OpenAPI writes it: `/v1/webhooks/{id}`. */
export const pathTemplate = (path: string): string => path.replaceAll(/:(\w+)/g, '{$1}')

/** The resource that stands first in the path. */
export const tagOf = ({ path }: Route): string => path.split('/')[2] ?? ''

/** `createWebhook`, `listApiKeys`, `rotateWebhookSecret`: made from method and path, so that no route can go without. */
export function operationIdOf(route: Route): string {
  const segments = route.path.split('/').slice(2)
  const words = segments.filter((segment) => !segment.startsWith(':'))
  const last = words.at(-1) ?? ''
  const endsInId = segments.at(-1) !== last
  if (route.method === 'PATCH') return `update${pascal(singular(last))}`
  if (route.method === 'DELETE') return `delete${pascal(singular(last))}`
  if (route.method === 'GET') {
    if (itemOf(route) !== null) return `list${pascal(last)}`
    return endsInId ? `get${pascal(singular(last))}` : `get${pascal(singular(words.at(-2) ?? ''))}${pascal(last)}`
  }
  if (last.endsWith('s')) return `create${pascal(singular(last))}`
  // What is done, to what, and with which part of it.
  const [verb = '', ...part] = last.split('-')
  const target = words.at(-2) ?? ''
  const isOfOne = segments.at(-2)?.startsWith(':')
  return verb + pascal(isOfOne ? singular(target) : target) + pascal(part.join('-'))
}

/** Names for what lists hold: `Webhook` for an item of `GET /v1/webhooks`. */
export function namesOfItems(routes: readonly Route[]): Map<z.core.$ZodType, string> {
  const named = routes.flatMap((route): [z.core.$ZodType, string][] => {
    const item = itemOf(route)
    if (item === null || z.globalRegistry.get(item)?.id !== undefined) return []
    return [[item, pascal(singular(route.path.split('/').at(-1) ?? ''))]]
  })
  return new Map(named)
}

/** The schema of a list's items; null for what is no list. */
function itemOf({ method, response }: Route): z.core.$ZodType | null {
  const body = response[200]
  if (method !== 'GET' || !(body instanceof z.ZodObject) || !('nextCursor' in body.shape)) return null
  const list = body.shape.data
  return list instanceof z.ZodArray ? list.element : null
}

function singular(word: string): string {
  return word.endsWith('ies') ? `${word.slice(0, -3)}y` : word.replace(/s$/, '')
}

function pascal(words: string): string {
  return words.replaceAll(/(?:^|-)(\w)/g, (_match, letter: string) => letter.toUpperCase())
}
