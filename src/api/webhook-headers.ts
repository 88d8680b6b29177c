import { z } from 'zod'
import { isObject } from '../domain/json.ts'

const mostHeaders = 10
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/
// Printable Latin-1: what undici writes to the wire as it is. No line breaks, no controls.
const printable = /^[\x20-\x7e\xa0-\xff]{0,4096}$/

// Ours (contract.md §4), and those that speak of the connection rather than the message (RFC 9110 §7.6.1).
const reserved =
  /^(content-type|content-length|host|user-agent|x-webhook-.*|webhook-.*|traceparent|tracestate|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect)$/i

const listed = z
  .record(z.string(), z.string().regex(printable, 'must be at most 4096 printable Latin-1 characters'))
  .superRefine((headers, context) => {
    const names = Object.keys(headers)
    const refuse = (message: string, path: string[] = []) => context.addIssue({ code: 'custom', path, message })
    if (new Set(names.map((name) => name.toLowerCase())).size < names.length) refuse('must not name a header twice')
    for (const name of names) {
      if (!token.test(name)) refuse('is not a header name of at most 128 characters', [name])
      else if (reserved.test(name)) refuse('is a header that Relevo writes itself', [name])
    }
  })
  .meta({ maxProperties: mostHeaders })

/** The headers a webhook adds to each request: name to value, at most 10, none of those that Relevo writes itself. */
export const webhookHeaders = z.preprocess((headers, context) => {
  // Before the values are looked at: each of a hundred thousand would be a fault of its own.
  const isLong = isObject(headers) && Object.keys(headers).length > mostHeaders
  if (isLong) context.addIssue({ code: 'custom', message: `must be at most ${mostHeaders} headers` })
  return headers
}, listed)
