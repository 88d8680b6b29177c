import { expect } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { type DatabaseHouse, next, openDatabaseHouse } from './database-house.ts'
import { spoil } from './house.ts'
import type { DatabaseRow } from './matrix.ts'

const callsUnderFault = 2
/** No answer may wait for a database that hangs: its operations are given up after 5 s. */
const soonMs = 4500
/** Until all is as before, ms. */
const againMs = 40_000

let tokens = 0

/** Exchanges of one person before the fault, under it and after it. */
export async function runDatabaseRow(house: DatabaseHouse, row: DatabaseRow): Promise<void> {
  const flowToken = `token-${++tokens}`
  await house.know(flowToken)
  const ids: string[] = []
  const call = async () => {
    const made = await house.call(flowToken)
    ids.push(made.id)
    expect(made.answer).toEqual(next)
    expect(made.ms).toBeLessThan(soonMs)
    return made
  }
  const becomesUsual = () =>
    eventually(async () => (await call()).records === 'sent', { timeoutMs: againMs, everyMs: 100 })
  await becomesUsual()

  await spoil(house.proxy, row.fault, row.on)
  for (let times = 0; times < callsUnderFault; times++) {
    const { id, records } = await call()
    if (row.records !== 'either') expect(records).toBe(row.records)
    const places = await house.whereIs(id)
    if (row.kept === 'either') expect(places).not.toEqual([])
    else expect(places).toContain(row.kept)
  }

  if (row.again === 'lifted') await house.proxy.restore()
  await becomesUsual()
  const rows = await house.exchanges(flowToken, ids.length, againMs)
  expect(rows.map(({ id, outcome }) => [id, outcome])).toEqual(ids.map((id) => [id, 'replied']))
  expect(await house.deliveries(flowToken)).toEqual(house.asked(flowToken))
  if (row.again === 'lasting') await house.proxy.restore()
}

/** Houses that rows take turns in: to make one takes longer than most rows. */
export class Houses {
  readonly #most: number
  readonly #free: { budgetMs: number; house: DatabaseHouse }[] = []
  readonly #waiting: (() => void)[] = []
  #lent = 0

  constructor(most: number) {
    this.#most = most
  }

  /** A row that fails leaves a house that no other row is let into. */
  async lend(budgetMs: number, run: (house: DatabaseHouse) => Promise<void>): Promise<void> {
    if (this.#lent >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#lent++
    const at = this.#free.findIndex((free) => free.budgetMs === budgetMs)
    const house = at < 0 ? await openDatabaseHouse(budgetMs) : (this.#free.splice(at, 1)[0]?.house as DatabaseHouse)
    try {
      await run(house)
      this.#free.push({ budgetMs, house })
    } catch (error) {
      await house.close()
      throw error
    } finally {
      this.#lent--
      this.#waiting.shift()?.()
    }
  }

  async close(): Promise<void> {
    for (const { house } of this.#free.splice(0)) {
      await house.close()
      expect(
        house.relevo.logs.filter(({ msg }) => /are lost|is lost|exchange failed inside/.test(String(msg))),
      ).toEqual([])
    }
  }
}
