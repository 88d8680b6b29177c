import { expect, it, onTestFinished } from 'vitest'
import { eventually } from '../../support/eventually.ts'
import { sendJson } from '../../support/graph.ts'
import { apiWithGraph } from './graph-api.ts'
import { nextNumber } from './samples.ts'

/** Longer than any test holds a call. */
const under = apiWithGraph({ timeoutMs: 60_000 })

/** Holds the next call that lists flows, until told. */
function holdNextList() {
  const release = Promise.withResolvers<void>()
  const came = Promise.withResolvers<void>()
  onTestFinished(() => release.resolve())
  under.fake.next('GET /:id/flows', async ({ response, standard }) => {
    came.resolve()
    await release.promise
    sendJson(response, 200, standard())
  })
  return { came: came.promise, release: release.resolve }
}
const sync = (wabaId: string) => under.send('POST', '/v1/flows/sync', { wabaId })
const listed = () => under.fake.callsOf('GET /:id/flows').map(({ path }) => path.split('/')[1])

it('a workspace’s syncs wait for each other, and nobody else for them', async () => {
  const [first, second] = [await under.makeWaba(), await under.makeWaba()]
  const { came, release } = holdNextList()
  const syncing = sync(first.wabaId)
  await came
  const waiting = [sync(second.wabaId), sync(first.wabaId)]
  const other = await under.api.makeWorkspace()
  const theirs = { wabaId: nextNumber(), accessToken: 'EAA-token-of-another' }
  under.fake.model.addWaba(theirs.wabaId, theirs.accessToken)
  await other.make('/v1/wabas', theirs)
  expect((await other.post('/v1/flows/sync', { wabaId: theirs.wabaId })).status).toBe(200)
  expect(listed()).toEqual([first.wabaId, theirs.wabaId])
  release()
  expect((await Promise.all([syncing, ...waiting])).map(({ status }) => status)).toEqual([200, 200, 200])
  expect(listed()).toHaveLength(4)
})

it('eight may run or wait; past them 429', async () => {
  const { wabaId } = await under.makeWaba()
  const { came, release } = holdNextList()
  const refused: unknown[] = []
  const syncing = Array.from({ length: 11 }, async () => {
    const { status, body } = await sync(wabaId)
    if (status !== 200) refused.push([status, body.code])
  })
  await came
  await eventually(() => refused.length === 3, { timeoutMs: 20_000 })
  release()
  await Promise.all(syncing)
  expect(refused).toEqual(Array(3).fill([429, 'rate_limited']))
  expect((await sync(wabaId)).status).toBe(200)
})
