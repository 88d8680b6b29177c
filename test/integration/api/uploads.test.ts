import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAccount, startRelevo, type TestAccount, type TestRelevo } from '../../support/relevo.ts'

describe('bodies of API calls on their way in', () => {
  let relevo: TestRelevo
  let account: TestAccount

  beforeAll(async () => {
    relevo = await startRelevo()
    account = await createAccount(relevo)
  })
  afterAll(() => relevo.close())

  /** A flow's body, of which all but the last byte is sent. */
  async function begin(length: number) {
    const { hostname, port } = new URL(relevo.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    const closed = new Promise<'cut'>((resolve) =>
      socket.on('error', () => undefined).on('close', () => resolve('cut')),
    )
    const answered = once(socket, 'data').then(([bytes]) => String(bytes).slice(0, 12))
    const [start, end] = ['{"name":"', '"}']
    const head = `POST /v1/flows HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${account.token}\r\n`
    socket.write(`${head}content-type: application/json\r\ncontent-length: ${length}\r\n\r\n${start}`)
    const sent = new Promise((resolve) => {
      socket.write('x'.repeat(length - start.length - end.length), resolve)
    })
    return { socket, sent, closed, answered, end }
  }

  it('together hold a bounded amount of memory: the oldest is cut, the newest is answered', async () => {
    const length = 12 * 1024 * 1024
    const calls = []
    for (let call = 0; call < 5; call++) {
      const begun = await begin(length)
      await begun.sent
      calls.push(begun)
    }
    const [oldest] = calls
    const newest = await begin(length)
    expect(await Promise.race([oldest?.closed, oldest?.answered])).toBe('cut')
    await newest.sent
    newest.socket.write(newest.end)
    expect(await newest.answered).toBe('HTTP/1.1 400')
    for (const { socket } of [...calls, newest]) socket.destroy()
  })
})
