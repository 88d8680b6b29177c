import { createHmac } from 'node:crypto'
import { expect, it } from 'vitest'
import type { Account, Directory } from '../../../src/relay/directory.ts'
import { Admission } from '../../../src/relay/meta-admission.ts'

const body = Buffer.alloc(3 * 1024 * 1024, 'x')
const signature = `sha256=${createHmac('sha256', 'its own secret').update(body).digest('hex')}`

/** Each WABA has a secret of its own but `theirs`, whose secret has signed the body. */
const directory = {
  waba: (wabaId: string) =>
    ({
      wabaId,
      verified: true,
      appSecrets: () => [wabaId === 'theirs' ? 'its own secret' : wabaId],
    }) as unknown as Account,
} as unknown as Directory
const admit = () => new Admission({ directory, platformAppSecrets: [], signatureRequired: true }, body, signature)

it('hashes so much for the WABAs that a body names, and no more: a stranger can name a thousand', () => {
  expect(admit().of('theirs')).toMatchObject({ wabaId: 'theirs' })
  const admission = admit()
  for (let waba = 0; waba < 1000; waba++) expect(admission.of(String(waba))).toBe('signature')
  // It would fit, and is dropped all the same.
  expect(admission.of('theirs')).toBe('signature')
})
