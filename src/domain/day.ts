/** Days of UTC and UUIDv7s: tables of rows whose id begins with their time are partitioned by it, a day each. */

export const dayMs = 24 * 60 * 60 * 1000

// A UUIDv7 has 48 bits for its time (RFC 9562 §5.7).
const latestMs = 2 ** 48 - 1

/** When the day of a time begins, Unix ms. */
export function dayOf(unixMs: number): number {
  return Math.floor(unixMs / dayMs) * dayMs
}

/** `YYYYMMDD`. */
export function nameOfDay(day: number): string {
  return new Date(day).toISOString().slice(0, -14).replaceAll('-', '')
}

/** The least UUID of a time: every UUIDv7 made then or later is not before it, every earlier one is. */
export function firstIdAt(unixMs: number): string {
  const hex = Math.min(Math.max(0, Math.floor(unixMs)), latestMs)
    .toString(16)
    .padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

/** When a UUIDv7 was made, Unix ms. */
export function timeOfId(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
