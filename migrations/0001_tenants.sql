CREATE TABLE "audit_log" (
	"workspace_id" text NOT NULL,
	"id" uuid NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"resource_id" text,
	"members" text[] NOT NULL,
	"status" integer,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "audit_log_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "idempotent_calls" (
	"workspace_id" text NOT NULL,
	"call_digest" "bytea" NOT NULL,
	"body_digest" "bytea" NOT NULL,
	"status" integer,
	"answer_sealed" "bytea",
	"started_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotent_calls_workspace_id_call_digest_pk" PRIMARY KEY("workspace_id","call_digest")
);
--> statement-breakpoint
ALTER TABLE "flow_keys" ALTER COLUMN "private_key_sealed" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "app_secrets" ADD COLUMN "updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "clients" ADD COLUMN "attributes" json DEFAULT '{}'::json NOT NULL;--> statement-breakpoint
ALTER TABLE "flow_keys" ADD COLUMN "updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "flow_responses" ADD COLUMN "send_status" text;--> statement-breakpoint
ALTER TABLE "flows" ADD COLUMN "health_status" json;--> statement-breakpoint
ALTER TABLE "flows" ADD COLUMN "validation_errors" json;--> statement-breakpoint
ALTER TABLE "flows" ADD COLUMN "refuse_closed_tokens" json;--> statement-breakpoint
ALTER TABLE "wabas" ADD COLUMN "verify_token_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "wabas" ADD COLUMN "require_token_signature" boolean DEFAULT false NOT NULL;--> statement-breakpoint
CREATE INDEX "idempotent_calls_expiry" ON "idempotent_calls" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "exchanges_of_client" ON "exchanges" USING btree ("workspace_id","client_id") WHERE "exchanges"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "flow_responses_of_client" ON "flow_responses" USING btree ("workspace_id","client_id") WHERE "flow_responses"."client_id" is not null;--> statement-breakpoint
CREATE INDEX "flow_responses_of_conversation" ON "flow_responses" USING btree ("workspace_id","conversation_id") WHERE "flow_responses"."conversation_id" is not null;