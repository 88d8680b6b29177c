import * as apiKeys from './api-keys.ts'
import * as channels from './channels.ts'
import * as clients from './clients.ts'
import * as conversations from './conversations.ts'
import * as exchanges from './exchanges.ts'
import * as flowResponses from './flow-responses.ts'
import * as flows from './flows.ts'
import type { OperatorOperation, WorkspaceOperation } from './operation.ts'
import * as wabas from './wabas.ts'
import * as webhooks from './webhooks.ts'
import * as workspaces from './workspaces.ts'

interface Endpoint {
  readonly method: 'GET' | 'POST'
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
  { method: 'POST', path: '/v1/workspaces/:id/api-keys', scope: 'operator', ...apiKeys.create },
  { method: 'GET', path: '/v1/workspaces/:id/api-keys', scope: 'operator', ...apiKeys.list },

  { method: 'POST', path: '/v1/wabas', scope: 'write', ...wabas.create },
  { method: 'GET', path: '/v1/wabas', scope: 'read', ...wabas.list },
  { method: 'GET', path: '/v1/wabas/:wabaId', scope: 'read', ...wabas.get },

  { method: 'POST', path: '/v1/channels', scope: 'write', ...channels.create },
  { method: 'GET', path: '/v1/channels', scope: 'read', ...channels.list },
  { method: 'GET', path: '/v1/channels/:id', scope: 'read', ...channels.get },

  { method: 'POST', path: '/v1/flows', scope: 'write', ...flows.create },
  { method: 'GET', path: '/v1/flows', scope: 'read', ...flows.list },
  { method: 'GET', path: '/v1/flows/:id', scope: 'read', ...flows.get },

  { method: 'POST', path: '/v1/webhooks', scope: 'write', ...webhooks.create },
  { method: 'GET', path: '/v1/webhooks', scope: 'read', ...webhooks.list },
  { method: 'GET', path: '/v1/webhooks/:id', scope: 'read', ...webhooks.get },

  { method: 'POST', path: '/v1/clients', scope: 'write', ...clients.create },
  { method: 'GET', path: '/v1/clients', scope: 'read', ...clients.list },
  { method: 'GET', path: '/v1/clients/:id', scope: 'read', ...clients.get },

  { method: 'POST', path: '/v1/conversations', scope: 'write', ...conversations.create },
  { method: 'GET', path: '/v1/conversations', scope: 'read', ...conversations.list },
  { method: 'GET', path: '/v1/conversations/:id', scope: 'read', ...conversations.get },

  { method: 'POST', path: '/v1/flow-responses', scope: 'write', ...flowResponses.create },
  { method: 'GET', path: '/v1/flow-responses', scope: 'read', ...flowResponses.list },
  { method: 'GET', path: '/v1/flow-responses/:id', scope: 'read', ...flowResponses.get },

  { method: 'GET', path: '/v1/exchanges', scope: 'read', ...exchanges.list },
  { method: 'GET', path: '/v1/exchanges/:id', scope: 'read', ...exchanges.get },
]
