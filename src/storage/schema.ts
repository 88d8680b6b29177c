/** Every table, by the rows that change together. */
export * from './schema/calls.ts'
export * from './schema/clients.ts'
export * from './schema/deliveries.ts'
export * from './schema/exchanges.ts'
export * from './schema/operations.ts'
export * from './schema/wabas.ts'
export * from './schema/webhooks.ts'
export * from './schema/workspaces.ts'
