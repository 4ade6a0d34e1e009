import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { rationalValue } from '../../src/rewards/grade/algebra.ts';
import { exact } from '../../src/rewards/grade/exact.ts';
import { boxesIn } from '../../src/rewards/grade/extract.ts';
import { judge } from '../../src/rewards/grade/judge.ts';
import { evaluateAt } from '../../src/rewards/grade/numeric.ts';
import { parseAnswer } from '../../src/rewards/grade/parser.ts';
import { type NormaliserName, normaliseAnswer } from '../../src/rewards/grade/profiles/normalise.ts';
import { scoreQuestionOnly, scoreR1Zero, splitTuple } from '../../src/rewards/grade/profiles/r1-zero.ts';
import {
  extractGsm8kFlexible,
  extractGsm8kStrict,
  gradeLikeMathVerify,
} from '../../src/rewards/grade/profiles/simple.ts';
import { toNumber } from '../../src/util/rational.ts';
import { booleanRows, type GraderCase, gradeCase, isUndisputed } from './grade-rows.ts';
import { casesOf } from './rewards-cases.ts';

const LABELLED = ['gsm8k-A-line', 'mathcoder', 'qwen-math-equal'];
const OWN = process.env['CASES_DIR'] === undefined;

/** Share of rows that agree, with the first that do not in the message of a failure. */
function share(
  rows: readonly GraderCase[],
  agrees: (row: GraderCase) => boolean,
): { share: number; wrong: string[] } {
  const wrong = rows
    .filter((row) => !agrees(row))
    .map((row) => `${row.id} ${JSON.stringify(row.prediction)?.slice(-80)}`);
  return { share: rows.length === 0 ? 1 : 1 - wrong.length / rows.length, wrong };
}

function expectShare(rows: readonly GraderCase[], least: number, agrees: (row: GraderCase) => boolean): void {
  const { share: reached, wrong } = share(rows, agrees);
  expect(reached, wrong.slice(0, 20).join('\n')).toBeGreaterThanOrEqual(least);
}

const agrees = (row: GraderCase) => (gradeCase(row).verdict === 'correct') === row.expected;

describe('the default profile', () => {
  const suites = booleanRows(['equiv', 'grade']).filter(
    (row) =>
      !(
        row.id.startsWith('gsm8k') ||
        row.id.startsWith('mathcoder') ||
        row.id.startsWith('gen-') ||
        row.id.startsWith('qwen-rm')
      ),
  );

  it('agrees with published suites on 91 % of their rows', () => expectShare(suites, 0.91, agrees));

  it('agrees on 98 % of the rows that most reference graders agree on', () =>
    expectShare(suites.filter(isUndisputed), 0.98, agrees));

  it.runIf(OWN)('differs only where it is written down why', () => {
    const listed = JSON.parse(
      readFileSync(fileURLToPath(new URL('../cases/grade/disagreements.json', import.meta.url)), 'utf8'),
    ) as object;
    const differing = suites.filter((row) => !agrees(row)).map(({ id }) => id);
    expect(differing.sort()).toEqual(Object.keys(listed).sort());
  });

  it('never says the opposite when the sides are changed', () => {
    const pairs = suites.filter(
      (row) => row.kind === 'equiv' && row.opts?.['extract'] === 'none' && typeof row.prediction === 'string',
    );
    expectShare(pairs, 1, (row) => {
      const grade = (prediction: unknown, reference: unknown) =>
        judge({
          prediction: String(prediction),
          references: [String(reference)],
          options: { extract: 'none' },
        }).verdict === 'correct';
      return grade(row.prediction, row.reference) === grade(row.reference, row.prediction);
    });
  });

  it.each([
    ['gsm8k-A-line', 0.998],
    ['mathcoder', 0.97],
  ] as const)('agrees with the labels of %s', (profile, least) => {
    expect(LABELLED).toContain(profile);
    expectShare(
      booleanRows(['grade']).filter((row) => row.profile === profile),
      least,
      agrees,
    );
  });
});

describe('vectors of reference graders', () => {
  it.each(['hendrycks', 'mathd', 'prm800k', 'minerva', 'dapo'] as const)(
    '%s normalises as its source',
    (rules: NormaliserName) => {
      const rows = (casesOf('normalize') as GraderCase[]).filter((row) => row.profile === 'normalisers');
      expectShare(
        rows,
        0.99,
        (row) =>
          normaliseAnswer(String(row.prediction), rules) === (row.expected as Record<string, string>)[rules],
      );
    },
  );

  it('gsm8k strict and flexible extract as verl', () => {
    const rows = (casesOf('extract') as GraderCase[]).filter(
      (row) => row.profile === 'verl:gsm8k.extract_solution',
    );
    expectShare(rows, 0.99, (row) => {
      const extract = row.opts?.['method'] === 'strict' ? extractGsm8kStrict : extractGsm8kFlexible;
      return extract(String(row.prediction)) === row.expected;
    });
  });

  it('math-verify scores as the accuracy reward of TRL', () => {
    const rows = (casesOf('grade') as GraderCase[]).filter((row) => row.profile === 'trl:accuracy_reward');
    expectShare(rows, 0.99, (row) => {
      const { equal } = gradeLikeMathVerify(String(row.prediction), String(row.reference));
      return (equal === null ? null : Number(equal)) === row.expected;
    });
  });

  it.skipIf(OWN)(
    'r1-zero and question-only score as the functions of A5 (rows without a licence: CASES_DIR names them)',
    () => {
      const rows = (casesOf('grade') as GraderCase[]).filter((row) =>
        row.profile.includes('reward_fn(fast=True)'),
      );
      expectShare(rows, 0.99, (row) => {
        const score = row.profile.startsWith('r1_zero') ? scoreR1Zero : scoreQuestionOnly;
        const expected = row.expected as { format_reward: number; answer_reward: number };
        const got = score(String(row.prediction), String(row.reference), true);
        return got.format === expected.format_reward && got.answer === expected.answer_reward;
      });
    },
  );
});

describe('parts', () => {
  it('finds boxes as published extractors do', () => {
    const rows = (casesOf('extract') as GraderCase[]).filter(
      ({ profile }) => /boxed/.test(profile) && !/remove|only_string|strict_box/.test(profile),
    );
    expectShare(
      rows,
      0.9,
      (row) => (boxesIn(String(row.prediction)).at(-1)?.answer ?? null) === row.expected,
    );
  });

  it('splits tuples as PRM800K does', () => {
    for (const row of casesOf('split')) expect(splitTuple(String(row.prediction))).toEqual(row.expected);
  });

  it('reads the LaTeX that latex2sympy reads, and to the value that it gives', () => {
    const rows = (casesOf('parse') as GraderCase[]).filter(({ expected }) => expected !== null);
    expectShare(rows, 0.97, (row) => tree(String(row.prediction)) !== null);
    const valued = rows.filter(({ expected }) =>
      /^-?\d+(\.\d+)?(e[+-]\d+)?$/.test(String((expected as { value: string | null }).value)),
    );
    // What is left are greatest common divisors of letters and of roots, which are left as they stand.
    expectShare(valued, 0.95, (row) => {
      const read = tree(String(row.prediction));
      const value = Number((row.expected as { value: string }).value);
      return read !== null && near(read, value);
    });
  });

  it('refuses what is no expression', () => {
    const rows = (casesOf('parse') as GraderCase[]).filter(({ expected }) => expected === null);
    expectShare(rows, 0.9, (row) => tree(String(row.prediction)) === null);
  });
});

function tree(text: string): ReturnType<typeof parseAnswer> | null {
  try {
    return parseAnswer(text);
  } catch {
    return null;
  }
}

/** Equal to 11 digits: the rows give doubles. */
function near(read: ReturnType<typeof parseAnswer>, value: number): boolean {
  const known = rationalValue(exact(read));
  const { re } = known === null ? evaluateAt(read, () => ({ re: 1.1, im: 0 })) : { re: toNumber(known) };
  return Math.abs(re - value) <= 1e-11 * Math.max(1, Math.abs(value));
}
