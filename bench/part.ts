/** One line of the table: what was measured, and its figure with the unit in it. */
export type Finding = readonly [what: string, figure: string]

/** How much is measured. */
export interface Extent {
  readonly warmUp: number
  readonly exchanges: number
  /** Of one load at a fixed rate or at saturation. */
  readonly seconds: number
  readonly workspaces: number
  readonly wabas: number
  /** Of the exchange log, where rows were asked for. */
  readonly rows: number
}

/** One part of the bench. Yields its findings as they come. */
export type Part = (extent: Extent) => AsyncGenerator<Finding>

export const ms = (value: number, digits = 3) => `${value.toFixed(digits)} ms`
export const times = (value: number) => value.toFixed(2)
/** 12345 → 12,345. */
export const whole = (value: number) => Math.round(value).toLocaleString('en')
export const share = (value: number) => `${(value * 100).toFixed(1)} %`
