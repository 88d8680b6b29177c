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

const replace = (...configs: WorkspaceConfig[]) => directory.replace([workspaceId], async () => configs)

async function load(version: number, ...webhooks: StoredWebhook[]): Promise<string[]> {
  await replace({ workspaceId, version, wabas: [], webhooks })
  return told.splice(0)
}

it('a breaker is closed when the time of its closing by hand has moved since the last load, and then only', async () => {
  const at = (ms: number) => ({ breakerClosedAt: new Date(ms) })
  expect(await load(1, webhook('wh_1', at(5)), webhook('wh_2'))).toEqual([])
  expect(await load(2, webhook('wh_1', at(5)), webhook('wh_2'))).toEqual([])
  expect(await load(3, webhook('wh_1', at(5)), webhook('wh_2', at(7)))).toEqual(['close wh_2'])
  // The clock of another process may be behind.
  expect(await load(4, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(9)))).toEqual(['close wh_1'])
  expect(await load(4, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(9)))).toEqual([])
  // An older load that was overtaken.
  await directory.replace([workspaceId], async () => {
    await load(4, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(9)))
    return [{ workspaceId, version: 3, wabas: [], webhooks: [webhook('wh_1', at(5)), webhook('wh_2', at(7))] }]
  })
  expect(told.splice(0)).toEqual([])
  expect(await load(5, webhook('wh_1', at(4)), webhook('wh_2', at(7)), webhook('wh_3', at(10)))).toEqual(['close wh_3'])
})

it('a breaker that is off is closed, and a webhook that is gone is forgotten', async () => {
  await load(1, webhook('wh_1'), webhook('wh_2'))
  expect(await load(2, webhook('wh_1', { breakerMode: 'off' }), webhook('wh_2'))).toEqual(['close wh_1'])
  expect(await load(3, webhook('wh_1'))).toEqual(['forget wh_2'])
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
    await replace(config)
    return []
  })
  expect(directory.waba('1')?.workspaceId).toBe(workspaceId)
})

it('a workspace that went while a load was under way does not come back with it', async () => {
  await replace(config)
  await replace()
  await replace(config)
  expect(directory.waba('1')).toBeNull()
})

it('a database that lost changes is followed back, and its next change is found', async () => {
  await replace({ ...config, version: 5 })
  const older = { ...config, version: 4, wabas: [{ ...waba, verified: false }] }
  expect(await replace(older)).toEqual([workspaceId])
  expect(directory.waba('1')?.verified).toBe(false)
  expect(directory.outdated(new Map([[workspaceId, 5]]))).toEqual([workspaceId])
  expect(await replace({ ...config, version: 5 })).toEqual([])
  expect(directory.waba('1')?.verified).toBe(true)
})

it.each(['replace', 'replaceAll'] as const)(
  'what %s loads undoes no change that was applied meanwhile',
  async (how) => {
    await replace({ ...config, version: 5 })
    const begun = Promise.withResolvers<WorkspaceConfig[]>()
    const wentBack =
      how === 'replaceAll'
        ? directory.replaceAll(() => begun.promise)
        : directory.replace([workspaceId], () => begun.promise)
    // Before and after the database lost the tail of its changes.
    for (const version of [6, 5]) await replace({ ...config, version })
    begun.resolve([{ ...config, version: 4, wabas: [{ ...waba, verified: false }] }])
    expect(await wentBack).toEqual([])
    expect(directory.waba('1')?.verified).toBe(true)
  },
)

it('a WABA that moved is found again, in whatever order loads of both workspaces end', async () => {
  const other = 'ws_2' as WorkspaceId
  const of = (workspaceId: WorkspaceId, version: number, ...wabas: StoredWaba[]) => [
    { workspaceId, version, wabas, webhooks: [] },
  ]
  const loadOfOther = () => directory.replace([other], async () => of(other, 1, waba))
  await replace(...of(workspaceId, 1, waba))
  const [second, third] = [Promise.withResolvers<WorkspaceConfig[]>(), Promise.withResolvers<WorkspaceConfig[]>()]
  const loads = [second, third].map(({ promise }) => directory.replace([workspaceId], () => promise))
  await loadOfOther()
  second.resolve(of(workspaceId, 2, waba))
  await loads[0]
  third.resolve(of(workspaceId, 3))
  await loads[1]
  const stored = new Map([
    [workspaceId, 3],
    [other, 1],
  ])
  expect(directory.outdated(stored)).toEqual([other])
  await loadOfOther()
  expect(directory.waba('1')?.workspaceId).toBe(other)
  expect(directory.outdated(stored)).toEqual([])
})

it('who has a WABA that moved keeps all else, where an older load of both drops it', async () => {
  const other = 'ws_2' as WorkspaceId
  const of = (workspaceId: WorkspaceId, version: number, ...wabaIds: string[]): WorkspaceConfig => {
    return { workspaceId, version, wabas: wabaIds.map((wabaId) => ({ ...waba, wabaId })), webhooks: [] }
  }
  await directory.replace([workspaceId, other], async () => [of(workspaceId, 1, '1'), of(other, 1, '2')])
  const both = Promise.withResolvers<WorkspaceConfig[]>()
  const loading = directory.replace([workspaceId, other], () => both.promise)
  await directory.replace([other], async () => [of(other, 3, '1', '2')])
  await replace(of(workspaceId, 2, '1'))
  both.resolve([of(workspaceId, 3), of(other, 2, '2')])
  await loading
  expect(directory.waba('2')?.workspaceId).toBe(other)
  const stored = new Map([
    [workspaceId, 3],
    [other, 3],
  ])
  expect(directory.outdated(stored)).toEqual([other])
})
