import type fc from 'fast-check'
import type { World } from './world.ts'

/** What a case must not end in. The message holds no secret and no payload. */
export class Finding extends Error {}

export function insist(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Finding(message)
}

/** For so long an operation of the database may take; then the call that needs it is told to come again with a 503. */
const operationMs = 5000

/** Whether a 503 is the fault of a machine that was busy with something else for too long. */
export const isStalled = (status: number, startedAt: number) =>
  status === 503 && performance.now() - startedAt >= operationMs

/** One of the places where bytes of others come in. */
export interface Target<Case> {
  readonly cases: fc.Arbitrary<Case>
  /** Runs a case. Returns what it is counted as; throws a Finding. `lane`: cases of one lane run one after the other. */
  run(one: Case, lane: number): Promise<string>
  /** Throws a Finding if what should go on working does not. */
  stillWorks(): Promise<void>
  /** The input as it was sent, for whoever is to reproduce it; without secrets. */
  show(one: Case): string
  close?(): Promise<void>
}

export interface TargetKind {
  readonly name: string
  /** Of 100 cases of all targets. */
  readonly share: number
  /** Whether its cases leave answers in the memory of repeats: contract.md §3. */
  readonly leavesAnswers: boolean
  /** What some of its cases must end in: a target that does not get there tests nothing. */
  readonly reaches: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  // biome-ignore lint/suspicious/noExplicitAny: each target has cases of its own
  make(world: World): Promise<Target<any>>
}
