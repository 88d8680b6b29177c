import { growth, leastMs } from '../domain/histogram.ts'

/**
 * What statistics are made of, as SQL for both of storage's clients: an exchange, or a row of `exchange_stats`, gives cells
 * (measure, bucket, n), which are summed. Measures: `exchanges` and `late_replies`, both in bucket 0; `total` and `webhook`, by the
 * bucket of their time. Constants of this code only.
 */

/** Null for null, which `greatest` is not. */
const bucketOf = (ms: string) =>
  `floor(ln(case when ${ms} < ${leastMs} then ${leastMs} else ${ms} end / ${leastMs}) / ln(${growth}::float8))::int`

/** Of `e`, a closed row of `exchanges`. A late reply counts at the time that it really took, a timeout without one at its deadline. */
export const cellsOfExchange = `(values
  ('exchanges', 0), ('total', ${bucketOf('e.duration_ms')}), ('webhook', ${bucketOf('coalesce(e.late_reply_ms, e.webhook_ms)')}),
  ('late_replies', case when e.late_reply_ms is not null then 0 end)) as c(measure, bucket)`

/** Of `s`, a row of `exchange_stats`. */
export const cellsOfStats = `(
  select 'exchanges' as measure, 0 as bucket, s.exchanges as n
  union all select 'late_replies', 0, s.late_replies
  union all select 'total', t.bucket, t.n from unnest(s.total_buckets, s.total_counts) as t(bucket, n)
  union all select 'webhook', t.bucket, t.n from unnest(s.webhook_buckets, s.webhook_counts) as t(bucket, n)) as c`

/** The five minutes that the UUIDv7 of `e` was made in, as timestamptz. (uuid_extract_timestamp reads version 7 from PostgreSQL 18 on.) */
export const fiveMinutesOfId = `to_timestamp(
  ('x' || translate(left(e.id::text, 13), '-', ''))::bit(48)::bigint / 300000 * 300)`
