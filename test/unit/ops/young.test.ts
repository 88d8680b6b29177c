import fc from 'fast-check'
import { expect, it } from 'vitest'
import { YoungMap, YoungSet } from '../../../src/ops/young.ts'

const step = fc.record({
  does: fc.constantFrom('set' as const, 'set' as const, 'delete' as const),
  name: fc.integer({ min: 0, max: 20 }),
  value: fc.nat(),
})

it('is a Map, in its order, however often it is made anew', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1000, maxLength: 3000 }), (steps) => {
      const [map, model] = [new YoungMap<number, number>(), new Map<number, number>()]
      const [set, members] = [new YoungSet<number>(), new Set<number>()]
      for (const { does, name, value } of steps) {
        if (does === 'set') {
          map.set(name, value)
          model.set(name, value)
          set.add(name)
          members.add(name)
        } else {
          expect(map.delete(name)).toBe(model.delete(name))
          expect(set.delete(name)).toBe(members.delete(name))
        }
        expect([map.size, map.get(name), map.has(name)]).toEqual([model.size, model.get(name), model.has(name)])
      }
      expect([...map]).toEqual([...model])
      expect([...map.values()]).toEqual([...model.values()])
      expect([...set]).toEqual([...members])
    }),
    { numRuns: 30 },
  )
})
