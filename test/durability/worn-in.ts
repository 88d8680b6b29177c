import postgres from 'postgres'

/**
 * Gives a server that was just made what one has that has run for a while: log files to write over. A new one is filled with 16 MB of zeros first, each few
 * seconds of load, and all that is to be committed waits for it (11 to 18 ms for its fsync alone). `databaseUrl`: as who may do so.
 */
export async function wearIn(databaseUrl: string): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1 })
  try {
    // As many as PostgreSQL keeps at most (max_wal_size): how many that is goes by how much was written between the last checkpoints.
    for (let file = 0; file < 60; file++) {
      await sql`select pg_logical_emit_message(false, 'relevo', 'worn in')`
      await sql`select pg_switch_wal()`
    }
    await sql`checkpoint`
  } finally {
    await sql.end()
  }
}
