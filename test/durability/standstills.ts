/** From when to when, `performance.now()`. */
export interface Standstill {
  readonly from: number
  readonly to: number
}

const [everyMs, atLeastMs] = [20, 100]

/** When this process stood still, which is tenant and load at once: what it then does, it does all at once. Ends with the function returned. */
export function watchStandstills(): () => readonly Standstill[] {
  const standstills: Standstill[] = []
  let seenAt = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    if (now - seenAt > atLeastMs) standstills.push({ from: seenAt, to: now })
    seenAt = now
  }, everyMs)
  return () => {
    clearInterval(timer)
    return standstills
  }
}
