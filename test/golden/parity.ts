/** Owns the table of how near the golden cases came: by family of cases, the worst difference found. */

import { writeFileSync } from 'node:fs';
import type { Comparison } from './case.ts';

interface Family {
  cases: number;
  entries: number;
  expected: number;
  largest: number;
  worst: number;
  gradients: number | null;
}

const none: Family = { cases: 0, entries: 0, expected: 0, largest: 0, worst: 0, gradients: null };

/** Collects comparisons by kind and writes them as Markdown. */
export class Parity {
  private readonly families = new Map<string, Family>();

  add(kind: string, { count, expected, largest, worst, gradients }: Comparison): void {
    const before = this.families.get(kind) ?? none;
    this.families.set(kind, {
      cases: before.cases + 1,
      entries: before.entries + count,
      expected: before.expected + expected,
      largest: Math.max(before.largest, largest),
      worst: Math.max(before.worst, worst),
      gradients: gradients === null ? before.gradients : Math.max(before.gradients ?? 0, gradients),
    });
  }

  /** Cases by kind, in the order of the table. */
  get counts(): [string, number][] {
    return this.rows().map(([kind, { cases }]) => [kind, cases]);
  }

  write(path: string): void {
    const rows = this.rows().map(
      ([kind, { cases, entries, expected, largest, worst, gradients }]) =>
        `| \`${kind}\` | ${cases} | ${entries} of ${expected} | ${shown(largest)} | ${(worst * 100).toFixed(1)} % | ${gradients === null ? '' : shown(gradients)} |`,
    );
    writeFileSync(path, `${[...head, ...rows].join('\n')}\n`);
  }

  private rows(): [string, Family][] {
    return [...this.families].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}

const head = [
  '# Parity with the Python stack',
  '',
  'Numbers of torch 2.13, transformers 5.18, TRL 1.13 and PEFT 0.21 against ours, on the CPU. The table is written by the',
  'golden tests themselves:',
  '',
  '    RECKON_PARITY=docs/parity.md npx vitest run test/golden',
  '',
  'Largest difference: of any single number (relative to the whole vector for bf16 gradients and training runs; float64 twins',
  'included). Share of tolerance: how much of what the case allows the worst number took; each case states its own tolerance,',
  'which is where a large difference between large numbers, or in bf16, is allowed. f32 gradients: all of a case as one vector,',
  'length of the difference over the length of the reference; the tests hold each case to 1e-4 whatever it allows, gradients left out that are below its tolerance everywhere.',
  '',
  '| kind | cases | quantities compared | largest difference | worst share of tolerance | f32 gradients |',
  '|---|---:|---:|---:|---:|---:|',
];

function shown(value: number): string {
  return value === 0 ? 'equal' : value.toExponential(1);
}
