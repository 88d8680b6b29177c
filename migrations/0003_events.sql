CREATE TABLE "attempts" (
	"workspace_id" text NOT NULL,
	"id" uuid NOT NULL,
	"delivery_id" uuid NOT NULL,
	"number" integer NOT NULL,
	"status" integer,
	"failure" text,
	"duration_ms" double precision NOT NULL,
	"connect_ms" double precision,
	"head_ms" double precision,
	"bytes" integer NOT NULL,
	"response_headers" json,
	"response_body" "bytea",
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "attempts_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
) PARTITION BY RANGE ("id");
--> statement-breakpoint
CREATE TABLE "deliveries" (
	"workspace_id" text NOT NULL,
	"id" uuid NOT NULL,
	"webhook_id" text NOT NULL,
	"event_id" uuid NOT NULL,
	"event" text NOT NULL,
	"resource_id" text,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"envelope" "bytea",
	"flow_id" text,
	"client_id" text,
	"flow_token_digest" "bytea",
	"status" text NOT NULL,
	"reason" text,
	"attempts" integer DEFAULT 0 NOT NULL,
	"failures" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp (3) with time zone,
	"delivered_at" timestamp (3) with time zone,
	"last_status" integer,
	"last_failure" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "deliveries_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
) PARTITION BY RANGE ("id");
--> statement-breakpoint
CREATE TABLE "expunges" (
	"workspace_id" text NOT NULL,
	"digest" "bytea" NOT NULL,
	"kind" text NOT NULL,
	"expunged_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "expunges_workspace_id_kind_digest_pk" PRIMARY KEY("workspace_id","kind","digest")
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"name" text PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "meta_events" (
	"workspace_id" text NOT NULL,
	"digest" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "meta_events_workspace_id_digest_pk" PRIMARY KEY("workspace_id","digest")
);
--> statement-breakpoint
ALTER TABLE "exchanges" ADD COLUMN "late_reply_ms" double precision;--> statement-breakpoint
ALTER TABLE "webhooks" ADD COLUMN "deliveries_disabled_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "webhooks" ADD COLUMN "failing_since" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "webhooks" ADD COLUMN "failure_warned_at" timestamp (3) with time zone;--> statement-breakpoint
-- By hand from here to the end of this block: drizzle-kit does not know partitions. What was in the table so far becomes the first partition
-- as it is, up to the end of today, so that nothing is copied and nobody waits.
ALTER TABLE "exchanges" RENAME TO "exchanges_before";--> statement-breakpoint
ALTER TABLE "exchanges_before" RENAME CONSTRAINT "exchanges_workspace_id_id_pk" TO "exchanges_before_pk";--> statement-breakpoint
ALTER INDEX "exchanges_of_flow_token" RENAME TO "exchanges_before_of_flow_token";--> statement-breakpoint
ALTER INDEX "exchanges_of_client" RENAME TO "exchanges_before_of_client";--> statement-breakpoint
ALTER INDEX "exchanges_open" RENAME TO "exchanges_before_open";--> statement-breakpoint
CREATE TABLE "exchanges" (
	LIKE "exchanges_before",
	CONSTRAINT "exchanges_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
) PARTITION BY RANGE ("id");
--> statement-breakpoint
CREATE INDEX "exchanges_of_flow_token" ON "exchanges" USING btree ("workspace_id","flow_token_digest","id" DESC NULLS LAST) WHERE "exchanges"."flow_token_digest" is not null;--> statement-breakpoint
CREATE INDEX "exchanges_of_client" ON "exchanges" USING btree ("workspace_id","client_id") WHERE "exchanges"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "exchanges_open" ON "exchanges" USING btree ("created_at") WHERE "exchanges"."outcome" is null;--> statement-breakpoint
DO $$
DECLARE
	day timestamptz;
	today timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
	-- The least UUIDv7 of a time.
	first_id text := 'lpad(to_hex((extract(epoch from %L::timestamptz) * 1000)::bigint), 12, ''0'') || repeat(''0'', 20)';
	tomorrow_id uuid;
	from_id uuid;
	to_id uuid;
	parent text;
	has_rows boolean;
BEGIN
	EXECUTE 'SELECT (' || format(first_id, today + interval '1 day') || ')::uuid' INTO tomorrow_id;
	SELECT EXISTS (SELECT FROM exchanges_before) INTO has_rows;
	IF has_rows THEN
		EXECUTE format('ALTER TABLE exchanges ATTACH PARTITION exchanges_before FOR VALUES FROM (MINVALUE) TO (%L)', tomorrow_id);
	ELSE
		DROP TABLE exchanges_before;
	END IF;
	FOREACH parent IN ARRAY ARRAY['exchanges', 'deliveries', 'attempts'] LOOP
		EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
		FOR offset_days IN 0..2 LOOP
			CONTINUE WHEN parent = 'exchanges' AND has_rows AND offset_days = 0;
			day := today + offset_days * interval '1 day';
			EXECUTE 'SELECT (' || format(first_id, day) || ')::uuid' INTO from_id;
			EXECUTE 'SELECT (' || format(first_id, day + interval '1 day') || ')::uuid' INTO to_id;
			EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
				parent || '_' || to_char(day AT TIME ZONE 'UTC', 'YYYYMMDD'), parent, from_id, to_id);
		END LOOP;
	END LOOP;
END $$;
--> statement-breakpoint
CREATE INDEX "attempts_of_delivery" ON "attempts" USING btree ("workspace_id","delivery_id","id");--> statement-breakpoint
CREATE INDEX "deliveries_waiting_of_webhook" ON "deliveries" USING btree ("workspace_id","webhook_id","id") WHERE "deliveries"."status" in ('pending', 'failed');--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("due_at") WHERE "deliveries"."status" in ('pending', 'failed');--> statement-breakpoint
CREATE INDEX "deliveries_of_client" ON "deliveries" USING btree ("workspace_id","client_id") WHERE "deliveries"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "deliveries_of_flow_token" ON "deliveries" USING btree ("workspace_id","flow_token_digest") WHERE "deliveries"."flow_token_digest" is not null;--> statement-breakpoint
CREATE INDEX "expunges_age" ON "expunges" USING btree ("expunged_at");--> statement-breakpoint
CREATE INDEX "meta_events_age" ON "meta_events" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "flow_responses_of_message" ON "flow_responses" USING btree ("workspace_id","message_id") WHERE "flow_responses"."message_id" is not null;--> statement-breakpoint
CREATE INDEX "flow_responses_open" ON "flow_responses" USING btree ("expires_at") WHERE "flow_responses"."status" in ('SENT', 'IN_PROGRESS');