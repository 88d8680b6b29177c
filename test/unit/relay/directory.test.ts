import { beforeEach, expect, it } from 'vitest'
import { readMasterKeys } from '../../../src/crypto/sealed-secret.ts'
import type { WorkspaceId } from '../../../src/domain/ids.ts'
import { Unsealer } from '../../../src/events/webhook-signing.ts'
import { Directory } from '../../../src/relay/directory.ts'
import type { StoredWaba, StoredWebhook, WorkspaceConfig } from '../../../src/storage/account-config.ts'

const workspaceId = 'ws_1' as WorkspaceId
const unsealer = new Unsealer(readMasterKeys(Buffer.alloc(32, 7).toString('base64')), () => {})

let told: string[]
let directory: Directory
beforeEach(() => {
  told = []
  directory = new Directory(unsealer, {
    forget: (id) => void told.push(`forget ${id}`),
    closeBreaker: (id) => void told.push(`close ${id}`),
  })
})

function webhook(id: string, more: Partial<StoredWebhook> = {}): StoredWebhook {
  return {
    id,
    url: 'https://tenant.test/',
    events: ['whatsapp.flows.exchanges'],
    active: true,
    headersSealed: null,
    flowIds: null,
    timeoutMs: null,
    fallback: null,
    format: 'envelope',
    breakerMode: 'on',
    breakerClosedAt: null,
    createdAt: new Date(0),
    signingSecrets: [],
    ...more,
  }
}

function load(version: number, ...webhooks: StoredWebhook[]): string[] {
  const config: WorkspaceConfig = { workspaceId, version, wabas: [], webhooks }
  directory.replace([workspaceId], [config])
  return told.splice(0)
}

it('a breaker is closed when the time of its closing by hand has moved since the last load, and then only', () => {
  const at = (ms: number) => ({ breakerClosedAt: new Date(ms) })
  expect(load(1, webhook('wh_1', at(5)), webhook('wh_2'))).toEqual([])
  expect(load(2, webhook('wh_1', at(5)), webhook('wh_2'))).toEqual([])
  expect(load(3, webhook('wh_1', at(5)), webhook('wh_2', at(7)))).toEqual(['close wh_2'])
  // The clock of another process may be behind.
  expect(load(4, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(9)))).toEqual(['close wh_1'])
  expect(load(4, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(9)))).toEqual([])
  // An older load that was overtaken.
  expect(load(3, webhook('wh_1', at(5)), webhook('wh_2', at(7)))).toEqual([])
  expect(load(5, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(10)))).toEqual(['close wh_3'])
})

it('a breaker that is off is closed, and a webhook that is gone is forgotten', async () => {
  load(1, webhook('wh_1'), webhook('wh_2'))
  expect(load(2, webhook('wh_1', { breakerMode: 'off' }), webhook('wh_2'))).toEqual(['close wh_1'])
  expect(load(3, webhook('wh_1'))).toEqual(['forget wh_2'])
  await directory.replaceAll(async () => [])
  expect(told).toEqual(['forget wh_1'])
})

const waba: StoredWaba = {
  wabaId: '1',
  verified: true,
  verifyTokenSealed: null,
  requireTokenSignature: false,
  flows: [],
  appSecrets: [],
  flowKeys: [],
}
const config: WorkspaceConfig = { workspaceId, version: 1, wabas: [waba], webhooks: [] }

it('a workspace that came while a load of everything was under way stays', async () => {
  await directory.replaceAll(async () => {
    directory.replace([workspaceId], [config])
    return []
  })
  expect(directory.waba('1')?.workspaceId).toBe(workspaceId)
})

it('a workspace that went while a load was under way does not come back with it', () => {
  directory.replace([workspaceId], [config])
  directory.replace([workspaceId], [])
  directory.replace([workspaceId], [config])
  expect(directory.waba('1')).toBeNull()
})
