ALTER TABLE "exchanges" ADD COLUMN "reason" text;--> statement-breakpoint
CREATE INDEX "exchanges_open" ON "exchanges" USING btree ("created_at") WHERE "exchanges"."outcome" is null;