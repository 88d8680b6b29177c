import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const units = ['relevo.service', 'relevo-migrate.service']
const read = (unit: string) => readFileSync(join(root, 'deploy/systemd', unit), 'utf8')
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0
const folder = mkdtempSync(join(tmpdir(), 'relevo-units-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** systemd asks whether the program is there: here that is this Node.js. */
function verify(unit: string, text: string): string {
  const path = join(folder, unit)
  writeFileSync(path, text.replace('/usr/bin/node', process.execPath))
  const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' })
  return `${stdout}${stderr}`
}

describe('the units of systemd', () => {
  it('run what the repository has, as no user of the machine, and are given time to end', () => {
    const commands = units.map((unit) => /^ExecStart=(.*)$/m.exec(read(unit))?.[1])
    expect(commands).toEqual(['serve', 'migrate'].map((name) => `/usr/bin/node /opt/relevo/src/cli.ts ${name}`))
    for (const unit of units) expect(read(unit)).toMatch(/^DynamicUser=yes$/m)
    const [, stop] = /^TimeoutStopSec=(\d+)$/m.exec(read('relevo.service')) ?? []
    expect(Number(stop)).toBeGreaterThan(30)
  })

  it.skipIf(!hasSystemd)('are what systemd takes', () => {
    for (const unit of units) expect(verify(unit, read(unit))).toBe('')
    const spoilt = read('relevo.service').replace('TimeoutStopSec', 'TimeoutStopsSec')
    expect(verify('relevo.service', spoilt)).toContain('TimeoutStopsSec')
  })

  it.skipIf(!hasSystemd)('leave little to who gets into the process', () => {
    const path = join(folder, 'relevo.service')
    writeFileSync(path, read('relevo.service'))
    // Exposure from 0 to 10, in tenths; the command fails above it.
    const options = ['security', '--offline=true', '--no-pager', '--threshold=15', path]
    expect(() => execFileSync('systemd-analyze', options, { stdio: 'pipe' })).not.toThrow()
  })
})
