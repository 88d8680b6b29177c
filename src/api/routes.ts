import * as apiKeys from './api-keys.ts'
import * as appSecrets from './app-secrets.ts'
import * as auditLog from './audit-log.ts'
import * as channels from './channels.ts'
import * as clients from './clients.ts'
import * as conversations from './conversations.ts'
import * as deliveries from './deliveries.ts'
import * as eventTypes from './event-types.ts'
import * as exchanges from './exchanges.ts'
import * as flowAtMeta from './flow-at-meta.ts'
import * as flowKeyPublish from './flow-key-publish.ts'
import * as flowKeys from './flow-keys.ts'
import * as flowMessages from './flow-messages.ts'
import * as flowResponses from './flow-responses.ts'
import * as flowSync from './flow-sync.ts'
import * as flows from './flows.ts'
import type { OperatorOperation, WorkspaceOperation } from './operation.ts'
import * as stats from './stats.ts'
import * as wabaSubscribe from './waba-subscribe.ts'
import * as wabas from './wabas.ts'
import * as webhookCloseBreaker from './webhook-close-breaker.ts'
import * as webhookRecover from './webhook-recover.ts'
import * as webhookTest from './webhook-test.ts'
import * as webhooks from './webhooks.ts'
import * as workspaces from './workspaces.ts'

interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: `/v1/${string}`
}

/** One route. Operator routes stand outside of workspaces; a workspace key can never call them. */
export type Route =
  | (Endpoint & { readonly scope: 'operator' } & OperatorOperation)
  | (Endpoint & { readonly scope: 'read' | 'write' } & WorkspaceOperation)

/** Every route of the API, once (contract.md §6). What each takes and answers stands in its resource's file. */
export const routes: readonly Route[] = [
  { method: 'POST', path: '/v1/workspaces', scope: 'operator', ...workspaces.create },
  { method: 'GET', path: '/v1/workspaces', scope: 'operator', ...workspaces.list },
  { method: 'GET', path: '/v1/workspaces/:id', scope: 'operator', ...workspaces.get },
  { method: 'PATCH', path: '/v1/workspaces/:id', scope: 'operator', ...workspaces.update },
  { method: 'DELETE', path: '/v1/workspaces/:id', scope: 'operator', ...workspaces.remove },
  { method: 'POST', path: '/v1/workspaces/:id/api-keys', scope: 'operator', ...apiKeys.create },
  { method: 'GET', path: '/v1/workspaces/:id/api-keys', scope: 'operator', ...apiKeys.list },
  { method: 'DELETE', path: '/v1/workspaces/:id/api-keys/:keyId', scope: 'operator', ...apiKeys.remove },

  { method: 'POST', path: '/v1/wabas', scope: 'write', ...wabas.create },
  { method: 'GET', path: '/v1/wabas', scope: 'read', ...wabas.list },
  { method: 'GET', path: '/v1/wabas/:wabaId', scope: 'read', ...wabas.get },
  { method: 'PATCH', path: '/v1/wabas/:wabaId', scope: 'write', ...wabas.update },
  { method: 'DELETE', path: '/v1/wabas/:wabaId', scope: 'write', ...wabas.remove },
  { method: 'POST', path: '/v1/wabas/:wabaId/app-secrets', scope: 'write', ...appSecrets.create },
  { method: 'GET', path: '/v1/wabas/:wabaId/app-secrets', scope: 'read', ...appSecrets.list },
  { method: 'DELETE', path: '/v1/wabas/:wabaId/app-secrets/:id', scope: 'write', ...appSecrets.remove },
  { method: 'POST', path: '/v1/wabas/:wabaId/flow-keys', scope: 'write', ...flowKeys.create },
  { method: 'GET', path: '/v1/wabas/:wabaId/flow-keys', scope: 'read', ...flowKeys.list },
  { method: 'DELETE', path: '/v1/wabas/:wabaId/flow-keys/:keyId', scope: 'write', ...flowKeys.retire },
  { method: 'POST', path: '/v1/wabas/:wabaId/subscribe', scope: 'write', ...wabaSubscribe.subscribe },
  { method: 'POST', path: '/v1/wabas/:wabaId/flow-keys/:keyId/publish', scope: 'write', ...flowKeyPublish.publish },

  { method: 'POST', path: '/v1/channels', scope: 'write', ...channels.create },
  { method: 'GET', path: '/v1/channels', scope: 'read', ...channels.list },
  { method: 'GET', path: '/v1/channels/:id', scope: 'read', ...channels.get },
  { method: 'PATCH', path: '/v1/channels/:id', scope: 'write', ...channels.update },
  { method: 'DELETE', path: '/v1/channels/:id', scope: 'write', ...channels.remove },

  { method: 'POST', path: '/v1/flows', scope: 'write', ...flows.create },
  { method: 'GET', path: '/v1/flows', scope: 'read', ...flows.list },
  { method: 'GET', path: '/v1/flows/:id', scope: 'read', ...flows.get },
  { method: 'PATCH', path: '/v1/flows/:id', scope: 'write', ...flows.update },
  { method: 'DELETE', path: '/v1/flows/:id', scope: 'write', ...flows.remove },
  { method: 'POST', path: '/v1/flows/sync', scope: 'write', ...flowSync.sync },
  { method: 'POST', path: '/v1/flows/:id/connect', scope: 'write', ...flowAtMeta.connect },
  { method: 'POST', path: '/v1/flows/:id/publish', scope: 'write', ...flowAtMeta.publish },
  { method: 'GET', path: '/v1/flows/:id/preview', scope: 'read', ...flowAtMeta.preview },
  { method: 'POST', path: '/v1/flows/:id/messages', scope: 'write', ...flowMessages.send },

  { method: 'POST', path: '/v1/webhooks', scope: 'write', ...webhooks.create },
  { method: 'GET', path: '/v1/webhooks', scope: 'read', ...webhooks.list },
  { method: 'GET', path: '/v1/webhooks/:id', scope: 'read', ...webhooks.get },
  { method: 'PATCH', path: '/v1/webhooks/:id', scope: 'write', ...webhooks.update },
  { method: 'DELETE', path: '/v1/webhooks/:id', scope: 'write', ...webhooks.remove },
  { method: 'POST', path: '/v1/webhooks/:id/rotate-secret', scope: 'write', ...webhooks.rotateSecret },
  { method: 'POST', path: '/v1/webhooks/:id/test', scope: 'write', ...webhookTest.run },
  { method: 'POST', path: '/v1/webhooks/:id/recover', scope: 'write', ...webhookRecover.recover },
  { method: 'POST', path: '/v1/webhooks/:id/close-breaker', scope: 'write', ...webhookCloseBreaker.closeBreaker },
  { method: 'GET', path: '/v1/event-types', scope: 'read', ...eventTypes.list },

  { method: 'POST', path: '/v1/clients', scope: 'write', ...clients.create },
  { method: 'GET', path: '/v1/clients', scope: 'read', ...clients.list },
  { method: 'GET', path: '/v1/clients/:id', scope: 'read', ...clients.get },
  { method: 'PATCH', path: '/v1/clients/:id', scope: 'write', ...clients.update },
  { method: 'DELETE', path: '/v1/clients/:id', scope: 'write', ...clients.remove },

  { method: 'POST', path: '/v1/conversations', scope: 'write', ...conversations.create },
  { method: 'GET', path: '/v1/conversations', scope: 'read', ...conversations.list },
  { method: 'GET', path: '/v1/conversations/:id', scope: 'read', ...conversations.get },
  { method: 'PATCH', path: '/v1/conversations/:id', scope: 'write', ...conversations.update },
  { method: 'DELETE', path: '/v1/conversations/:id', scope: 'write', ...conversations.remove },

  { method: 'POST', path: '/v1/flow-responses', scope: 'write', ...flowResponses.create },
  { method: 'GET', path: '/v1/flow-responses', scope: 'read', ...flowResponses.list },
  { method: 'GET', path: '/v1/flow-responses/:id', scope: 'read', ...flowResponses.get },
  { method: 'PATCH', path: '/v1/flow-responses/:id', scope: 'write', ...flowResponses.update },

  { method: 'GET', path: '/v1/exchanges', scope: 'read', ...exchanges.list },
  { method: 'GET', path: '/v1/exchanges/:id', scope: 'read', ...exchanges.get },

  { method: 'GET', path: '/v1/deliveries', scope: 'read', ...deliveries.list },
  { method: 'GET', path: '/v1/deliveries/:id', scope: 'read', ...deliveries.get },
  { method: 'POST', path: '/v1/deliveries/:id/redeliver', scope: 'write', ...deliveries.redeliver },

  { method: 'GET', path: '/v1/stats', scope: 'read', ...stats.get },

  { method: 'GET', path: '/v1/audit-log', scope: 'read', ...auditLog.list },
]
