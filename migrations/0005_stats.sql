CREATE TABLE "exchange_stats" (
	"workspace_id" text NOT NULL,
	"minutes" smallint NOT NULL,
	"starts_at" timestamp (3) with time zone NOT NULL,
	"flow_id" text NOT NULL,
	"webhook_id" text NOT NULL,
	"outcome" text NOT NULL,
	"exchanges" integer NOT NULL,
	"late_replies" integer NOT NULL,
	"total_buckets" smallint[] NOT NULL,
	"total_counts" integer[] NOT NULL,
	"webhook_buckets" smallint[] NOT NULL,
	"webhook_counts" integer[] NOT NULL,
	CONSTRAINT "exchange_stats_pk" PRIMARY KEY("workspace_id","minutes","starts_at","flow_id","webhook_id","outcome")
);
--> statement-breakpoint
CREATE TABLE "exchange_stats_frontier" (
	"name" text PRIMARY KEY NOT NULL,
	"rolled_up_until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "exchange_stats_stale" (
	"workspace_id" text NOT NULL,
	"starts_at" timestamp (3) with time zone NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	CONSTRAINT "exchange_stats_stale_workspace_id_starts_at_id_pk" PRIMARY KEY("workspace_id","starts_at","id")
);
--> statement-breakpoint
CREATE INDEX "exchange_stats_age" ON "exchange_stats" USING btree ("starts_at");--> statement-breakpoint
-- By hand: where the roll-up begins. With nothing there yet, now; else at the beginning of a day, as far back as there may be exchanges.
INSERT INTO "exchange_stats_frontier" ("name", "rolled_up_until")
SELECT 'exchanges', CASE WHEN EXISTS (SELECT FROM "exchanges")
	THEN (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '30 days') AT TIME ZONE 'UTC'
	ELSE to_timestamp(floor(extract(epoch from now()) / 300) * 300) END;
