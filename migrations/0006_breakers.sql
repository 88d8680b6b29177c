CREATE TABLE "webhook_breakers" (
	"workspace_id" text NOT NULL,
	"webhook_id" text NOT NULL,
	"process" text NOT NULL,
	"state" text NOT NULL,
	"since" timestamp (3) with time zone NOT NULL,
	"seen_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "webhook_breakers_workspace_id_webhook_id_process_pk" PRIMARY KEY("workspace_id","webhook_id","process")
);
--> statement-breakpoint
ALTER TABLE "webhooks" ADD COLUMN "breaker_closed_at" timestamp (3) with time zone;