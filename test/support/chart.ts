import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, parseAllDocuments, stringify } from 'yaml'

/**
 * Renders a Helm chart as `helm template` does, for the few constructs that ours keeps to (templates/_names.tpl): if, else, range,
 * define, include, required, default, printf, fail, add, int, gt, not, quote, toYaml, sha256sum, nindent. Anything else throws, as do values that are
 * not there. Go's own text/template gave the same objects when the chart was made; there is no Go and no helm where the tests run.
 */
export function renderChart(folder: string, values: Fields, release = 'relevo'): Fields[] {
  const chart = parse(readFileSync(join(folder, 'Chart.yaml'), 'utf8'))
  const root = {
    Values: merged(parse(readFileSync(join(folder, 'values.yaml'), 'utf8')), values),
    Release: { Name: release, Namespace: 'default' },
    Chart: { Name: chart.name, AppVersion: chart.appVersion },
  }
  const templates = join(folder, 'templates')
  const names = readdirSync(templates).toSorted()
  const defined = new Map<string, Node[]>()
  const bodies = names.map(
    (name) => [name, parseTemplate(readFileSync(join(templates, name), 'utf8'), defined)] as const,
  )
  const scope: Scope = { root, dot: root, variables: new Map(), defined }
  return bodies.flatMap(([name, nodes]) => {
    const text = print(nodes, scope)
    return name.endsWith('.yaml') ? readDocuments(name, text) : []
  })
}

export type Fields = { readonly [name: string]: unknown }

function readDocuments(name: string, text: string): Fields[] {
  return parseAllDocuments(text, { uniqueKeys: true }).flatMap((document) => {
    const [error] = [...document.errors, ...document.warnings]
    if (error !== undefined) throw new Error(`${name}: ${error.message}\n${text}`)
    const value = document.toJS()
    return value === null ? [] : [value]
  })
}

/** As Helm does: maps are merged, everything else replaced. */
function merged(base: unknown, over: unknown): unknown {
  if (!isMap(base) || !isMap(over)) return over ?? base
  const names = new Set([...Object.keys(base), ...Object.keys(over)])
  return Object.fromEntries([...names].map((name) => [name, merged(base[name], over[name])]))
}

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly expression: string }
  | { readonly kind: 'if'; readonly expression: string; readonly body: Node[]; readonly otherwise: Node[] }
  | { readonly kind: 'range'; readonly names: string[]; readonly expression: string; readonly body: Node[] }

interface Scope {
  readonly root: unknown
  readonly dot: unknown
  readonly variables: ReadonlyMap<string, unknown>
  readonly defined: ReadonlyMap<string, Node[]>
}

type Token = { readonly text: string } | { readonly action: string }

function parseTemplate(text: string, defined: Map<string, Node[]>): Node[] {
  const parts = text
    .replace(/\s*\{\{-/g, '{{')
    .replace(/-\}\}\s*/g, '}}')
    .split(/\{\{(.*?)\}\}/s)
  const tokens = parts.map((part, index): Token => (index % 2 === 0 ? { text: part } : { action: part.trim() }))
  const { nodes, end } = readBlock(tokens, defined)
  if (end !== '') throw new Error(`an {{${end}}} too many`)
  return nodes
}

/** Takes tokens up to the `end` or `else` of the block that they stand in. */
function readBlock(tokens: Token[], defined: Map<string, Node[]>): { nodes: Node[]; end: string } {
  const nodes: Node[] = []
  for (let token = tokens.shift(); token !== undefined; token = tokens.shift()) {
    if ('text' in token) nodes.push({ kind: 'text', text: token.text })
    else if (token.action === 'end' || token.action === 'else') return { nodes, end: token.action }
    else nodes.push(...readAction(token.action, tokens, defined))
  }
  return { nodes, end: '' }
}

function readAction(action: string, tokens: Token[], defined: Map<string, Node[]>): Node[] {
  if (action.startsWith('/*')) return []
  const [, word, expression = ''] = /^(if|range|define)\s+(.*)$/s.exec(action) ?? []
  if (word === undefined) return [{ kind: 'print', expression: action }]
  const { nodes: body, end } = readBlock(tokens, defined)
  const last = end === 'else' ? readBlock(tokens, defined) : { nodes: [], end }
  if (last.end !== 'end') throw new Error(`{{${action}}} has no end`)
  if (word === 'if') return [{ kind: 'if', expression, body, otherwise: last.nodes }]
  if (word === 'range') return [readRange(expression, body)]
  defined.set(JSON.parse(expression), body)
  return []
}

function readRange(text: string, body: Node[]): Node {
  const [, names, expression = ''] = /^(\$\w+(?:\s*,\s*\$\w+)?)\s*:=\s*(.*)$/s.exec(text) ?? []
  if (names === undefined) throw new Error(`{{range ${text}}} names no variable`)
  return { kind: 'range', names: names.split(',').map((name) => name.trim()), expression, body }
}

function print(nodes: readonly Node[], scope: Scope): string {
  return nodes
    .map((node): string => {
      if (node.kind === 'text') return node.text
      const value = evaluate(node.expression, scope)
      if (node.kind === 'print') return printed(value, node.expression)
      if (node.kind === 'if') return print(isTrue(value) ? node.body : node.otherwise, scope)
      const [index, item] = node.names.length === 2 ? node.names : [undefined, node.names[0]]
      const entries = isMap(value)
        ? Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
        : [...entriesOf(value)]
      return entries
        .map(([key, each]) => {
          const variables = new Map([...scope.variables, [index ?? '', key], [item ?? '', each]])
          return print(node.body, { ...scope, dot: each, variables })
        })
        .join('')
    })
    .join('')
}

function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined) return []
  if (!Array.isArray(value)) throw new Error('range over what is no list or map')
  return value.map((each, index) => [index, each])
}

function evaluate(expression: string, scope: Scope): unknown {
  const tokens = expression.match(/"(?:[^"\\]|\\.)*"|[()|]|[^\s()|"]+/g) ?? []
  let at = 0
  const pipeline = (): unknown => {
    let value = command([])
    while (tokens[at] === '|') {
      at++
      value = command([value])
    }
    return value
  }
  const command = (piped: unknown[]): unknown => {
    const first = tokens[at] ?? ''
    const call = functions[first]
    if (call === undefined) return operand()
    at++
    const given: unknown[] = []
    while (at < tokens.length && tokens[at] !== '|' && tokens[at] !== ')') given.push(operand())
    return call([...given, ...piped], scope)
  }
  const operand = (): unknown => {
    const token = tokens[at++] ?? ''
    if (token === '(') {
      const value = pipeline()
      if (tokens[at++] !== ')') throw new Error(`{{${expression}}}: a bracket is missing`)
      return value
    }
    if (token.startsWith('"')) return JSON.parse(token)
    if (/^\d+$/.test(token)) return Number(token)
    const [, variable, path] = /^(\$\w*)?((?:\.\w+)*|\.)$/.exec(token) ?? []
    if (path === undefined) throw new Error(`{{${expression}}}: ${token} is not rendered by test/support/chart.ts`)
    const start = variable === undefined ? scope.dot : variable === '$' ? scope.root : scope.variables.get(variable)
    const names = path.split('.').filter((name) => name !== '')
    return names.reduce((value, name) => member(value, name, expression), start)
  }
  const value = pipeline()
  if (at !== tokens.length) throw new Error(`{{${expression}}}: ${tokens[at]} is too much`)
  return value
}

function member(value: unknown, name: string, expression: string): unknown {
  if (!isMap(value)) throw new Error(`{{${expression}}}: there is nothing that could have .${name}`)
  return value[name]
}

const functions: Readonly<Record<string, (values: unknown[], scope: Scope) => unknown>> = {
  include: ([name, dot], scope) => {
    const body = scope.defined.get(String(name))
    if (body === undefined) throw new Error(`nothing defines ${name}`)
    return print(body, { ...scope, dot, root: dot, variables: new Map() })
  },
  required([message, value]) {
    if (value === undefined || value === null || value === '') throw new Error(String(message))
    return value
  },
  default: ([otherwise, value]) => (isTrue(value) ? value : otherwise),
  printf: ([format, ...values]) => String(format).replace(/%[sd]/g, () => String(values.shift())),
  fail([message]) {
    throw new Error(String(message))
  },
  add: (values) => values.reduce((sum: number, value) => sum + Number(value), 0),
  int: ([value]) => Math.trunc(Number(value)),
  gt: ([left, right]) => Number(left) > Number(right),
  not: ([value]) => !isTrue(value),
  quote: ([value]) => JSON.stringify(printed(value, 'quote')),
  toYaml: ([value]) => stringify(value, { sortMapEntries: true }).trimEnd(),
  sha256sum: ([text]) => createHash('sha256').update(String(text)).digest('hex'),
  nindent: ([width, text]) => `\n${String(text).replace(/^/gm, ' '.repeat(Number(width)))}`,
}

function printed(value: unknown, expression: string): string {
  if (value === undefined || value === null || typeof value === 'object')
    throw new Error(`{{${expression}}} is no text`)
  return String(value)
}

function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  return isMap(value) ? Object.keys(value).length > 0 : Boolean(value)
}

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
