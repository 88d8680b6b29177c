import { expect, it } from 'vitest'
import { parseSource, readSources, type SourceFile } from './sources.ts'

/**
 * A request that does not begin in egress/ is one that the address guard does not see. The simulator and the demo play others, the
 * doctor calls the operator's own URL; the drivers of PostgreSQL connect to where the operator says.
 */
const mayConnect = /^(egress|simulator|demo|doctor)\/|^demo\.ts$/
/** Two listen, to find a free port; the third connects to whichever host of DATABASE_URL is the primary; the last one answers. */
const others = ['storage/embedded/cluster.ts', 'processes/free-port.ts', 'storage/hosts.ts', 'server.ts']

const globals = /(?<![\w.])(fetch|WebSocket|EventSource)\s*\(/
const modules = /^(import|export)(?! type\b)[^']*from '(undici|node:(https?|http2|net|tls|dgram|dns|dns\/promises))'/m
const dynamic = /import\('(undici|node:(https?|http2|net|tls|dgram|dns|dns\/promises))'\)/

function connecting(files: readonly SourceFile[]): string[] {
  const found = files.filter(({ text }) => globals.test(text) || modules.test(text) || dynamic.test(text))
  return found.map(({ path }) => path).filter((path) => !mayConnect.test(path) && !others.includes(path))
}

it('src opens connections in egress alone', () => {
  expect(connecting(readSources())).toEqual([])
})

it.each([
  ["import { request } from 'undici'"],
  ["import {\n  request,\n} from 'undici'"],
  ["import { connect } from 'node:net'"],
  ["export { lookup } from 'node:dns/promises'"],
  ["const http = await import('node:http')"],
  ['const answer = await fetch(url)'],
])('the rule sees %s', (text) => {
  expect(connecting([parseSource('api/x.ts', text)])).toEqual(['api/x.ts'])
  expect(connecting([parseSource('egress/x.ts', text)])).toEqual([])
})

it.each([["import type { IncomingMessage } from 'node:http'"], ['graph.fetch(url)'], ['prefetch(url)']])(
  'the rule does not mind %s',
  (text) => {
    expect(connecting([parseSource('api/x.ts', text)])).toEqual([])
  },
)
