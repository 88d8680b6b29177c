ALTER TABLE "flow_responses" ADD COLUMN "confirmed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "flows" ADD COLUMN "status_at" timestamp (3) with time zone;