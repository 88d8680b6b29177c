// A program: what it holds grows old and dies, so that V8 collects the old generation.
for (let round = 0; round < 12; round++) {
  const kept: unknown[] = []
  for (let at = 0; at < 300_000; at++) kept.push({ at, list: [at] })
}
