CREATE TABLE "api_keys" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"name" text NOT NULL,
	"key_digest" "bytea" NOT NULL,
	"key_prefix" text NOT NULL,
	"scopes" text[] NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "api_keys_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "api_keys_digest" UNIQUE("workspace_id","key_digest")
);
--> statement-breakpoint
CREATE TABLE "app_secrets" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"waba_id" text NOT NULL,
	"app_secret_sealed" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "app_secrets_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "channels" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"waba_id" text NOT NULL,
	"phone_number_id" text NOT NULL,
	"phone_number" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "channels_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "channels_phone_number_id" UNIQUE("workspace_id","phone_number_id")
);
--> statement-breakpoint
CREATE TABLE "clients" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"phone_number" text NOT NULL,
	"name" text,
	"firstname" text,
	"email" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "clients_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "clients_phone_number" UNIQUE("workspace_id","phone_number")
);
--> statement-breakpoint
CREATE TABLE "conversations" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"client_id" text NOT NULL,
	"channel_id" text,
	"can_send_direct_message" boolean NOT NULL,
	"contact_name" text,
	"topic" text NOT NULL,
	"platform" text NOT NULL,
	"owners" text[] NOT NULL,
	"tags" text[] NOT NULL,
	"status" text NOT NULL,
	"operation" text NOT NULL,
	"message_count" integer NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "conversations_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "exchanges" (
	"workspace_id" text NOT NULL,
	"id" uuid NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"waba_id" text NOT NULL,
	"event" text,
	"action" text,
	"screen" text,
	"flow_token" text,
	"flow_token_digest" "bytea",
	"flow_id" text,
	"client_id" text,
	"webhook_id" text,
	"outcome" text,
	"duration_ms" double precision,
	"webhook_ms" double precision,
	"timings" jsonb,
	"envelope" "bytea",
	"answer" "bytea",
	"answer_screen" text,
	"attempt" jsonb,
	CONSTRAINT "exchanges_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "flow_keys" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"waba_id" text NOT NULL,
	"private_key_sealed" "bytea" NOT NULL,
	"public_key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"status" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "flow_keys_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "flow_responses" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"flow_token" text NOT NULL,
	"flow_token_digest" "bytea" NOT NULL,
	"flow_id" text,
	"status" text NOT NULL,
	"sent_at" timestamp (3) with time zone,
	"opened_at" timestamp (3) with time zone,
	"last_activity_at" timestamp (3) with time zone,
	"completed_at" timestamp (3) with time zone,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"client_id" text,
	"conversation_id" text,
	"message_id" text,
	"campaign_id" text,
	"agent_id" text,
	"channel_id" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "flow_responses_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "flow_responses_flow_token" UNIQUE("workspace_id","flow_token_digest")
);
--> statement-breakpoint
CREATE TABLE "flows" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"waba_id" text NOT NULL,
	"meta_flow_id" text NOT NULL,
	"name" text,
	"status" text,
	"categories" text[],
	"data_api_version" text,
	"endpoint_uri" text,
	"json_version" text,
	"flow_json" json,
	"screens" text[],
	"first_screen" text,
	"last_sync_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "flows_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "flows_meta_flow_id" UNIQUE("workspace_id","waba_id","meta_flow_id")
);
--> statement-breakpoint
CREATE TABLE "waba_directory" (
	"waba_id" text PRIMARY KEY NOT NULL,
	"workspace_id" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "wabas" (
	"workspace_id" text NOT NULL,
	"waba_id" text NOT NULL,
	"name" text,
	"verified" boolean NOT NULL,
	"access_token_sealed" "bytea",
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "wabas_workspace_id_waba_id_pk" PRIMARY KEY("workspace_id","waba_id")
);
--> statement-breakpoint
CREATE TABLE "webhook_secrets" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"webhook_id" text NOT NULL,
	"signing_secret_sealed" "bytea" NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_secrets_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"workspace_id" text NOT NULL,
	"id" text NOT NULL,
	"name" text NOT NULL,
	"url" text NOT NULL,
	"events" text[] NOT NULL,
	"active" boolean NOT NULL,
	"headers_sealed" "bytea",
	"header_names" text[] NOT NULL,
	"flow_ids" text[],
	"timeout_ms" integer,
	"fallback" json,
	"format" text NOT NULL,
	"breaker_mode" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "webhooks_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
CREATE TABLE "workspaces" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"config_version" bigint DEFAULT 1 NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "app_secrets" ADD CONSTRAINT "app_secrets_workspace_id_waba_id_wabas_workspace_id_waba_id_fk" FOREIGN KEY ("workspace_id","waba_id") REFERENCES "public"."wabas"("workspace_id","waba_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_workspace_id_waba_id_wabas_workspace_id_waba_id_fk" FOREIGN KEY ("workspace_id","waba_id") REFERENCES "public"."wabas"("workspace_id","waba_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "clients" ADD CONSTRAINT "clients_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "conversations" ADD CONSTRAINT "conversations_workspace_id_client_id_clients_workspace_id_id_fk" FOREIGN KEY ("workspace_id","client_id") REFERENCES "public"."clients"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flow_keys" ADD CONSTRAINT "flow_keys_workspace_id_waba_id_wabas_workspace_id_waba_id_fk" FOREIGN KEY ("workspace_id","waba_id") REFERENCES "public"."wabas"("workspace_id","waba_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "flows" ADD CONSTRAINT "flows_workspace_id_waba_id_wabas_workspace_id_waba_id_fk" FOREIGN KEY ("workspace_id","waba_id") REFERENCES "public"."wabas"("workspace_id","waba_id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "waba_directory" ADD CONSTRAINT "waba_directory_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "wabas" ADD CONSTRAINT "wabas_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_secrets" ADD CONSTRAINT "webhook_secrets_workspace_id_webhook_id_webhooks_workspace_id_id_fk" FOREIGN KEY ("workspace_id","webhook_id") REFERENCES "public"."webhooks"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhooks" ADD CONSTRAINT "webhooks_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "app_secrets_of_waba" ON "app_secrets" USING btree ("workspace_id","waba_id");--> statement-breakpoint
CREATE INDEX "conversations_of_client" ON "conversations" USING btree ("workspace_id","client_id");--> statement-breakpoint
CREATE INDEX "exchanges_of_flow_token" ON "exchanges" USING btree ("workspace_id","flow_token_digest","id" DESC NULLS LAST) WHERE "exchanges"."flow_token_digest" is not null;--> statement-breakpoint
CREATE INDEX "flow_keys_of_waba" ON "flow_keys" USING btree ("workspace_id","waba_id");--> statement-breakpoint
CREATE INDEX "webhook_secrets_of_webhook" ON "webhook_secrets" USING btree ("workspace_id","webhook_id");