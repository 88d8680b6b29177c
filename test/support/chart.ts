import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, parseAllDocuments, stringify } from 'yaml'

/**
 * Renders a Helm chart as `helm template` does, for the few constructs that ours keeps to (templates/_names.tpl): if, else, range,
 * define, include, required, default, printf, not, quote, toYaml, nindent. Anything else throws, as do values that are not there.
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

function parseTemplate(text: string, defined: Map<string, Node[]>): Node[] {
  const parts = text
    .replace(/\s*\{\{-/g, '{{')
    .replace(/-\}\}\s*/g, '}}')
    .split(/\{\{(.*?)\}\}/s)
  let at = 0
  const block = (): { nodes: Node[]; end: string } => {
    const nodes: Node[] = []
    for (; at < parts.length; at++) {
      const part = parts[at] ?? ''
      if (at % 2 === 0) {
        nodes.push({ kind: 'text', text: part })
        continue
      }
      const action = part.trim()
      if (action === 'end' || action === 'else') return { nodes, end: action }
      at++
      const node = readAction(action)
      if (node !== null) nodes.push(node)
      else at--
    }
    return { nodes, end: '' }
  }
  const readAction = (action: string): Node | null => {
    const [, word = '', rest = ''] = /^(if|range|define)\s+(.*)$/s.exec(action) ?? []
    if (action.startsWith('/*')) return { kind: 'text', text: parts[at] ?? '' }
    if (word === '') {
      at--
      return { kind: 'print', expression: action }
    }
    const first = block()
    at += first.end === 'else' ? 1 : 0
    const second = first.end === 'else' ? block() : { nodes: [], end: first.end }
    if (second.end !== 'end') throw new Error(`{{${action}}} has no end`)
    if (word === 'if') return { kind: 'if', expression: rest, body: first.nodes, otherwise: second.nodes }
    if (word === 'range') {
      const [, names = '', expression = ''] = /^(\$\w+(?:\s*,\s*\$\w+)?)\s*:=\s*(.*)$/s.exec(rest) ?? []
      if (names === '') throw new Error(`{{${action}}} names no variable`)
      return { kind: 'range', names: names.split(',').map((name) => name.trim()), expression, body: first.nodes }
    }
    defined.set(JSON.parse(rest), first.nodes)
    return { kind: 'text', text: '' }
  }
  const { nodes, end } = block()
  if (end !== '') throw new Error(`an {{${end}}} too many`)
  return nodes
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
  printf: ([format, ...values]) => String(format).replace(/%s/g, () => String(values.shift())),
  not: ([value]) => !isTrue(value),
  quote: ([value]) => JSON.stringify(printed(value, 'quote')),
  toYaml: ([value]) => stringify(value, { sortMapEntries: true }).trimEnd(),
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
