import type postgres from 'postgres'
import { distributedTables } from '../../src/storage/citus/distribution.ts'
import type { TappedStatement } from './statement-tap.ts'

interface PlanNode {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly Output?: readonly string[]
  readonly Plans?: readonly PlanNode[]
  readonly [key: string]: unknown
}

/**
 * Why Citus could not run a statement on one shard, or null. Read from PostgreSQL's own plan, made for any values: each scan of a distributed table
 * must have a condition `workspace_id = $n`, each insert must be one row of VALUES whose workspace is `$n`, nothing is changed within a WITH, and all
 * those `$n` are one workspace. Statements that touch no distributed table are none of its business.
 */
export async function shardFault(sql: postgres.Sql, { text, values }: TappedStatement): Promise<string | null> {
  if (!/^\s*(with|select|insert|update|delete)\b/i.test(text)) return null
  const [row] = await sql.unsafe(`explain (generic_plan, verbose, costs off, format json) ${text}`)
  const [explained] = (row?.['QUERY PLAN'] ?? []) as { Plan: PlanNode }[]
  const plan = explained?.Plan
  if (plan === undefined) return 'it has no plan'
  const nodes = nodesOf(plan)
  const touched = nodes.filter((node) => isDistributed(node['Relation Name']))
  if (touched.length === 0) return null
  const changes = nodes.filter((node) => node['Node Type'] === 'ModifyTable')
  if (changes.length > 1) return 'it changes rows within a WITH'
  const parameters = new Set<string>()
  for (const node of touched) {
    const found = node === changes[0] && node.Operation === 'Insert' ? insertedFor(node) : scannedFor(node)
    if (found === null) return `${node['Node Type']} on ${node['Relation Name']} names no workspace`
    if (found !== 'child') parameters.add(found)
  }
  const workspaces = new Set([...parameters].map((parameter) => values[Number(parameter.slice(1)) - 1]))
  return workspaces.size === 1 ? null : `it names ${workspaces.size} workspaces`
}

function nodesOf(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)]
}

function isDistributed(name: string | undefined): boolean {
  return name !== undefined && distributedTables.includes(name.replace(/_(\d{8}|default|before)$/, ''))
}

/** An update's or delete's own node: its scan below has the condition. */
function scannedFor(node: PlanNode): string | 'child' | null {
  if (node['Node Type'] === 'ModifyTable') return 'child'
  const conditions = ['Index Cond', 'Recheck Cond', 'Filter'].map((key) => String(node[key] ?? '')).join(' ')
  return /\bworkspace_id = (\$\d+)/.exec(conditions)?.[1] ?? null
}

/** One row of VALUES is a Result that puts out its columns in the table's order, workspace_id first. */
function insertedFor(node: PlanNode): string | null {
  const [source, ...more] = node.Plans ?? []
  if (source?.['Node Type'] !== 'Result' || more.length > 0 || (source.Plans ?? []).length > 0) return null
  return /^\(?(\$\d+)/.exec(source.Output?.[0] ?? '')?.[1] ?? null
}
