import { expect, it } from 'vitest'
import { readMetaEntries } from '../../../src/domain/meta-webhook.ts'
import type { Account } from '../../../src/relay/directory.ts'
import { readTold } from '../../../src/relay/meta-told.ts'
import { bodyOf, entryOf, nfmReply } from '../../support/meta-webhook.ts'

it('reads no more than 200,000 values of the forms in a body, in whichever entries and changes: they are read at one go', () => {
  const forms = (count: number) => Array.from({ length: count }, formOfManyValues)
  const entries = readMetaEntries(JSON.stringify(bodyOf(entryOf('1', ...forms(3)), entryOf('1', ...forms(4))))) ?? []
  const account = { wabaId: '1' } as Account
  const { messages } = readTold(entries.map((entry) => ({ account, entry })))
  const items = messages.map(({ message }) => Object.keys(message.completion?.response.x ?? {}).length)
  expect(items).toEqual([20_001, 20_001, 20_001, 20_001, 0, 0, 0])
})

/** 40,002 of them. */
function formOfManyValues(): object {
  return nfmReply({ response: `{"x":[${'[],'.repeat(20_000)}0]}` })
}
