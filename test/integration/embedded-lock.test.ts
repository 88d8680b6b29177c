import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { takeLock } from '../../src/storage/embedded/start-lock.ts'
import { freshDataDir } from '../support/embedded.ts'

let folder: string
let file: string

beforeEach(async () => {
  folder = await freshDataDir()
  file = join(folder, 'embedded.lock')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

it('is held by one at a time, however many want it, and leaves nothing behind', async () => {
  await writeFile(file, '4194999 an-earlier-boot:1 0123456789ab')
  let holders = 0
  const turns = Array.from({ length: 20 }, async () => {
    const lock = await takeLock(file, 20_000)
    holders++
    await delay(1)
    expect(holders).toBe(1)
    holders--
    await lock?.release()
    return lock !== undefined
  })
  expect(await Promise.all(turns)).toEqual(turns.map(() => true))
  expect(await readdir(folder)).toEqual([])
})

it('is not given while its holder lives, and freed by the holder alone', async () => {
  const lock = await takeLock(file, 0)
  expect(await takeLock(file, 50)).toBeUndefined()
  await writeFile(file, `${await readFile(file, 'utf8')}0`)
  await lock?.release()
  expect(await readdir(folder)).toEqual(['embedded.lock'])
})

it.skipIf(process.platform !== 'linux')(
  'is taken from a dead process, though its pid lives on in another',
  async () => {
    const later = spawn('/bin/sh', ['-c', 'read line'])
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
    await writeFile(file, `${later.pid} ${boot}:1 0123456789ab`)
    const lock = await takeLock(file, 0)
    expect(lock).toBeDefined()
    later.stdin.end()
    await once(later, 'close')
  },
)
