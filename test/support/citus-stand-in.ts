import postgres from 'postgres'

/**
 * Stands in for Citus, which our machines have not: functions of its names that record the calls, fill pg_dist_partition as Citus does, and refuse what
 * Citus refuses (create_distributed_table.c, foreign_constraint.c and table.c of citusdata/citus, `Ensure…` and `ErrorIf…`). An event trigger looks
 * at what DDL does to distributed tables. Rows stay where they are. Where Citus would help itself (it makes local tables that a reference table's
 * foreign keys touch its own) this one refuses: the real one may be told more, never less.
 */
export async function installCitusStandIn(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    await sql.unsafe(standIn)
    await sql.unsafe(`
      do $$ begin
        execute format('alter database %I set search_path = public, citus_stand_in', current_database());
      end $$`)
  } finally {
    await sql.end()
  }
}

/** The calls so far, as `function(table, …)`. */
export async function citusCalls(sql: postgres.Sql): Promise<string[]> {
  const rows = await sql`select call from citus_stand_in.calls order by n`
  return rows.map(({ call }) => call as string)
}

const standIn = `
create schema citus_stand_in;
set search_path = public, citus_stand_in;
create table citus_stand_in.calls (n serial primary key, call text not null);
create table citus_stand_in.pg_dist_partition (
  logicalrelid regclass primary key, partmethod "char" not null, partkey text, colocationid int not null, repmodel "char" not null);

create function citus_stand_in.column_to_column_name(logicalrelid regclass, partkey text) returns text
  language sql as 'select partkey';

create function citus_stand_in.refuse(message text) returns void language plpgsql as $$
begin raise exception '%', message using errcode = 'feature_not_supported'; end $$;

-- What foreign_constraint.c asks of every foreign key of a table that Citus knows.
create function citus_stand_in.check_foreign_keys(rel regclass) returns void language plpgsql as $$
declare
  fk record; own record; target record; own_column int; target_column int;
begin
  select * into own from citus_stand_in.pg_dist_partition where logicalrelid = rel;
  for fk in select * from pg_constraint where contype = 'f' and conrelid = rel loop
    select * into target from citus_stand_in.pg_dist_partition where logicalrelid = fk.confrelid;
    if own is null and target is null then continue; end if;
    if own is null and target.partmethod = 'h' then
      perform citus_stand_in.refuse(format('%s: foreign keys from local tables to distributed tables are not supported', fk.conname));
    end if;
    if own is null then continue; end if;
    if target is null then
      perform citus_stand_in.refuse(format('%s: referenced table must be a distributed table or a reference table', fk.conname));
    end if;
    if own.partmethod = 'n' and target.partmethod = 'h' then
      perform citus_stand_in.refuse(format('%s: foreign keys from reference tables to distributed tables are not supported', fk.conname));
    end if;
    if own.partmethod = 'n' then continue; end if;
    select array_position(fk.conkey, attnum) into own_column from pg_attribute where attrelid = rel and attname = own.partkey;
    if own_column is null then
      if target.partmethod = 'n' then continue; end if;
      perform citus_stand_in.refuse(format('%s: foreign keys must include the distribution column', fk.conname));
    end if;
    if fk.confdeltype in ('n', 'd') or fk.confupdtype in ('n', 'd', 'c') then
      perform citus_stand_in.refuse(format('%s: this action is not supported when the distribution key is included', fk.conname));
    end if;
    if target.partmethod = 'n' then continue; end if;
    if own.colocationid <> target.colocationid then
      perform citus_stand_in.refuse(format('%s: relations are not colocated', fk.conname));
    end if;
    select array_position(fk.confkey, attnum) into target_column from pg_attribute where attrelid = fk.confrelid and attname = target.partkey;
    if target_column is distinct from own_column then
      perform citus_stand_in.refuse(format('%s: the distribution column must be at the same place on both sides', fk.conname));
    end if;
  end loop;
end $$;

create function citus_stand_in.check_unique(rel regclass, distribution_column text) returns void language plpgsql as $$
declare key record;
begin
  for key in
    select i.indexrelid::regclass as name from pg_index i
    where i.indrelid = rel and (i.indisunique or i.indisexclusion) and not exists (
      select from pg_attribute a where a.attrelid = rel and a.attname = distribution_column and a.attnum = any(i.indkey::int2[]))
  loop
    perform citus_stand_in.refuse(format('cannot create constraint on "%s": %s does not include the partition column', rel, key.name));
  end loop;
end $$;

create function citus_stand_in.check_placeable(rel regclass) returns void language plpgsql as $$
declare local record;
begin
  if exists (select from citus_stand_in.pg_dist_partition where logicalrelid = rel) then
    perform citus_stand_in.refuse(format('table "%s" is already distributed', rel));
  end if;
  if exists (select from pg_trigger where tgrelid = rel and not tgisinternal) then
    perform citus_stand_in.refuse(format('cannot distribute relation "%s" because it has triggers', rel));
  end if;
  if exists (select from pg_rewrite r where r.ev_class = rel) then
    perform citus_stand_in.refuse(format('"%s" has rules', rel));
  end if;
  for local in
    select c.conname from pg_constraint c where c.contype = 'f' and c.confrelid = rel and c.conrelid <> rel
      and c.conrelid not in (select logicalrelid from citus_stand_in.pg_dist_partition)
  loop
    perform citus_stand_in.refuse(format('"%s" is referred to by a local table (%s)', rel, local.conname));
  end loop;
end $$;

create function citus_stand_in.create_reference_table(table_name regclass) returns void language plpgsql as $$
begin
  insert into citus_stand_in.calls (call) values (format('create_reference_table(%s)', table_name));
  perform citus_stand_in.check_placeable(table_name);
  if exists (select from pg_partitioned_table where partrelid = table_name) then
    perform citus_stand_in.refuse('partitioned reference tables are not supported');
  end if;
  insert into citus_stand_in.pg_dist_partition values (table_name, 'n', null, 1, 't');
  perform citus_stand_in.check_foreign_keys(table_name);
end $$;

create function citus_stand_in.create_distributed_table(
  table_name regclass, distribution_column text, distribution_type text default 'hash', colocate_with text default 'default',
  shard_count int default null) returns void language plpgsql as $$
declare group_id int; part record; other text;
begin
  insert into citus_stand_in.calls (call)
    values (format('create_distributed_table(%s, %s, colocate_with => %s)', table_name, distribution_column, colocate_with));
  if exists (select from pg_inherits where inhrelid = table_name) then
    perform citus_stand_in.refuse(format('cannot distribute relation "%s", which is a partition', table_name));
  end if;
  perform citus_stand_in.check_placeable(table_name);
  select format_type(atttypid, -1) into other from pg_attribute where attrelid = table_name and attname = distribution_column;
  if other is null then
    perform citus_stand_in.refuse(format('column "%s" of relation "%s" does not exist', distribution_column, table_name));
  end if;
  if colocate_with in ('default', 'none') then
    select coalesce(max(colocationid), 1) + 1 into group_id from citus_stand_in.pg_dist_partition;
  else
    select colocationid into group_id from citus_stand_in.pg_dist_partition where logicalrelid = colocate_with::regclass and partmethod = 'h';
    if group_id is null then
      perform citus_stand_in.refuse(format('relation %s is not distributed', colocate_with));
    end if;
  end if;
  for part in select table_name as rel union all select inhrelid::regclass from pg_inherits where inhparent = table_name loop
    if part.rel <> table_name and exists (select from pg_partitioned_table where partrelid = part.rel) then
      perform citus_stand_in.refuse('multi-level partitioned tables are not supported');
    end if;
    perform citus_stand_in.check_unique(part.rel, distribution_column);
    insert into citus_stand_in.pg_dist_partition values (part.rel, 'h', distribution_column, group_id, 's');
    perform citus_stand_in.check_foreign_keys(part.rel);
  end loop;
end $$;

create function citus_stand_in.truncate_local_data_after_distributing_table(function_name regclass) returns void language plpgsql as $$
begin
  insert into citus_stand_in.calls (call) values (format('truncate_local_data_after_distributing_table(%s)', function_name));
  if not exists (select from citus_stand_in.pg_dist_partition where logicalrelid = function_name) then
    perform citus_stand_in.refuse('supplied parameter is not a distributed relation');
  end if;
end $$;

-- A partition that comes is distributed as its parent is, and one that goes is forgotten; constraints are looked at anew.
create function citus_stand_in.after_ddl() returns event_trigger language plpgsql as $$
declare part record; known record;
begin
  delete from citus_stand_in.pg_dist_partition p where not exists (select from pg_class where oid = p.logicalrelid);
  for part in
    select i.inhrelid::regclass as rel, p.* from pg_inherits i join citus_stand_in.pg_dist_partition p on p.logicalrelid = i.inhparent
    where i.inhrelid not in (select logicalrelid from citus_stand_in.pg_dist_partition)
      and exists (select from pg_class c where c.oid = i.inhrelid and c.relkind = 'r')
  loop
    insert into citus_stand_in.calls (call) values (format('partition %s', part.rel));
    insert into citus_stand_in.pg_dist_partition values (part.rel, part.partmethod, part.partkey, part.colocationid, part.repmodel);
  end loop;
  for known in select * from citus_stand_in.pg_dist_partition where partmethod = 'h' loop
    perform citus_stand_in.check_unique(known.logicalrelid, known.partkey);
  end loop;
  for known in select distinct conrelid::regclass as rel from pg_constraint where contype = 'f' loop
    perform citus_stand_in.check_foreign_keys(known.rel);
  end loop;
end $$;
create event trigger citus_stand_in_after_ddl on ddl_command_end
  when tag in ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX') execute function citus_stand_in.after_ddl();
create event trigger citus_stand_in_after_drop on sql_drop execute function citus_stand_in.after_ddl();
`
