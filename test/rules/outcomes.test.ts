import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { outcomeNames, outcomes } from '../../src/domain/outcome.ts'
import { repositoryRoot } from './sources.ts'

const page = readFileSync(join(repositoryRoot, 'docs/outcomes.md'), 'utf8')
const labels = ['Happened', 'The person sees', 'Do']

/** A row as the page writes it, from the list in code. */
const rowOf = (name: (typeof outcomeNames)[number]) => {
  const { status, kind, fault } = outcomes[name]
  return [`[\`${name}\`](#${name})`, String(status ?? 'that of the first answer'), kind, fault === 'none' ? '–' : fault]
}

describe('docs/outcomes.md and domain/outcome.ts', () => {
  it('have the same outcomes in the same order, with status, kind and whose fault', () => {
    const rows = page
      .split('\n')
      .filter((line) => line.startsWith('| [`'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
    expect(rows.map((cells) => cells.slice(1, 5))).toEqual(outcomeNames.map(rowOf))
    expect(rows.filter((cells) => (cells[5] ?? '').length < 10)).toEqual([])
  })

  it('have a section for each, which says what happened, what the person sees and what to do', () => {
    const sections = page.split(/^### /m).slice(1)
    const written = sections.map((section) => ({
      name: section.split('\n', 1)[0],
      labels: [...section.matchAll(/^- \*\*([^*]+):\*\* \S/gm)].map(([, label]) => label),
    }))
    expect(written).toEqual(outcomeNames.map((name) => ({ name, labels })))
  })

  it('put each section under its kind', () => {
    const headings = [...page.matchAll(/^(##|###) (.+)$/gm)].map(([, level, title]) => ({ level, title }))
    const titles = { answer: 'Answers', fallback: 'Fallbacks', refusal: 'Refusals' }
    let under = ''
    for (const { level, title } of headings) {
      if (level === '##') under = title ?? ''
      else expect(under, title).toBe(titles[outcomes[title as keyof typeof outcomes].kind])
    }
  })
})
