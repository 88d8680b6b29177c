import { errorCodesOf } from '../../../src/api/openapi-responses.ts'
import { routes } from '../../../src/api/routes.ts'
import type { ApiAnswer } from './api-app.ts'

const patterns = routes.map((route) => ({
  route,
  pattern: new RegExp(`^${route.path.replaceAll(/:\w+/g, '[^/?]+')}(\\?|$)`),
  ids: route.path.split(':').length,
}))

/** Throws for an answer of a route that the OpenAPI document does not tell of. */
export function expectDocumented(method: string, path: string, { status, body }: ApiAnswer): void {
  const [match] = patterns
    .filter(({ route, pattern }) => route.method === method && pattern.test(path))
    .sort((a, b) => a.ids - b.ids)
  if (match === undefined) return
  const { route } = match
  const isDocumented = status < 400 ? status in route.response : errorCodesOf(route).includes(body.code)
  if (isDocumented) return
  const told = status < 400 ? String(status) : `${status} ${body.code}`
  throw new Error(`${route.method} ${route.path} answered ${told}, which its operation does not document`)
}
