ALTER TABLE "idempotent_calls" ADD COLUMN "client_id" text;--> statement-breakpoint
ALTER TABLE "idempotent_calls" ADD COLUMN "flow_token_digest" "bytea";--> statement-breakpoint
CREATE INDEX "idempotent_calls_of_client" ON "idempotent_calls" USING btree ("workspace_id","client_id") WHERE "idempotent_calls"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "idempotent_calls_of_flow_token" ON "idempotent_calls" USING btree ("workspace_id","flow_token_digest") WHERE "idempotent_calls"."flow_token_digest" is not null;