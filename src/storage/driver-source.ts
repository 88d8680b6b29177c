/**
 * The queue of free connections of postgres.js never gives up a place that was taken while others are in it: with a load that leaves one free, 8 bytes more for each statement,
 * and each statement looks through all of them for its connection (0.05 ms after 170,000, 4 ms after ten million). Mended, it lets go of the places that were
 * taken once they are the greater part.
 *
 * V8 makes a function in the old generation where it is written as the value of an assignment to a property (`this.resolve = x => …`), and so keeps what
 * the function can reach until the next collection of that generation. postgres.js makes such functions for each statement, which reach its parameters
 * and rows: all of it grew old, young collections took 33 ms in place of 3 to 6 (bench/notes.md). The same functions, named first, die young.
 */
const mends: Readonly<Record<string, readonly (readonly [from: string, to: string])[]>> = {
  'queue.js': [
    [
      '        xs[index - 1] = undefined\n',
      `        xs[index - 1] = undefined
        if (index >= 32 && index * 2 >= xs.length) {
          xs = xs.slice(index)
          index = 0
        }
`,
    ],
  ],
  'query.js': [
    [
      `    this.resolve = x => (this.active = false, resolve(x))
    this.reject = x => (this.active = false, reject(x))

    this.active = false
    this.cancelled = null`,
      `    const settle = x => (this.active = false, resolve(x)), fail = x => (this.active = false, reject(x))
    this.resolve = settle
    this.reject = fail

    this.active = false
    this.cancelled = null`,
    ],
  ],
  'index.js': [
    [
      '      acc[name] = (x) => new Parameter(x, type.to)\n',
      '      const parameter = (x) => new Parameter(x, type.to)\n      acc[name] = parameter\n',
    ],
    [
      `      c.reserved = () => queries.length
        ? c.execute(queries.shift())
        : move(c, reserved)
`,
      `      const next = () => queries.length
        ? c.execute(queries.shift())
        : move(c, reserved)
      c.reserved = next
`,
    ],
    [
      '      sql.prepare = x => prepare = x.replace(/[^a-z0-9$-_. ]/gi)\n',
      '      const remember = x => prepare = x.replace(/[^a-z0-9$-_. ]/gi)\n      sql.prepare = remember\n',
    ],
  ],
}

/** The source of a file of postgres.js 3.4.9, mended; as it is where it is not as expected: nothing depends on it but speed and memory. */
export function mendDriverSource(file: string, source: string): string {
  return (mends[file] ?? []).reduce((text, [from, to]) => text.replace(from, () => to), source)
}
