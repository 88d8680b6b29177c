import type { AppConfig } from '../app/core.ts'
import type { MetricsSnapshot } from '../ops/merged-metrics.ts'

/** What the first process says to those that it started. */
export type ToChild =
  /** `othersServe`: it need not listen before it can answer. */
  | { readonly kind: 'start'; readonly config: AppConfig; readonly othersServe: boolean }
  | { readonly kind: 'stop' }
  /** Send a snapshot of your metrics under this id. */
  | { readonly kind: 'take'; readonly id: number }
  /** What was asked for with `gather` under this id. */
  | { readonly kind: 'gathered'; readonly id: number; readonly snapshots: readonly MetricsSnapshot[] }

export type FromChild =
  | { readonly kind: 'listening'; readonly url: string }
  /** It cannot serve, and ends; `line` is for the operator. `isOfStart`: it did not listen yet. */
  | { readonly kind: 'refused'; readonly line: string; readonly isOfStart: boolean }
  /** Wants the snapshots of all. */
  | { readonly kind: 'gather'; readonly id: number }
  | { readonly kind: 'taken'; readonly id: number; readonly snapshot: MetricsSnapshot }
