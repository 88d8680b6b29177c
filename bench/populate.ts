import postgres from 'postgres'

/** Workspaces with 10 webhooks each. `databaseUrl`: migrated. */
export async function populate(databaseUrl: string, workspaces: number): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => undefined })
  await sql`insert into workspaces (id, name) select 'ws_' || lpad(n::text, 26, '0'), 'W' from generate_series(1, ${workspaces}::int) n`
  await sql`
    insert into webhooks (workspace_id, id, name, url, events, active, header_names, format, breaker_mode)
    select w.id, 'wh_' || substr(w.id, 4, 24) || lpad(n::text, 2, '0'), 'H', 'https://example.com/hook',
      array['whatsapp.flows.exchanges'], true, array[]::text[], 'envelope', 'on'
    from workspaces w, generate_series(1, 10) n`
  await sql`analyze`
  await sql.end()
}
