/** How one attempt at a webhook failed: the outcomes of contract.md §3 that are judged below the reply's content. */
export type AttemptFailure =
  | 'timeout'
  | 'connect_failed'
  | 'connection_lost'
  | 'address_blocked'
  | 'tls_failed'
  | 'bad_status'
  | 'reply_too_large'
