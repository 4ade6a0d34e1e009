/** Owns the tests of intervals, votes, and the published measures of answers, reasoning and training histories. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  answerAccuracy,
  compositeScore,
  lastNumber,
  partialCorrectness,
} from '../../src/evaluate/answers.ts';
import { detailsOf, powersOfTwo } from '../../src/evaluate/details.ts';
import {
  convergenceRate,
  gainPerMillionTokens,
  learningEfficiency,
  trainingStability,
} from '../../src/evaluate/history.ts';
import { clusteredShare, overSeeds, wilson } from '../../src/evaluate/intervals.ts';
import { normalQuantile, studentQuantile } from '../../src/evaluate/quantiles.ts';
import type { EvaluationRow } from '../../src/evaluate/rows.ts';
import { type Ballot, majAtK } from '../../src/evaluate/votes.ts';
import {
  logicalConsistency,
  reasoningScore,
  reasoningSteps,
  stepCoverage,
} from '../../src/text/reasoning.ts';
import { Rng } from '../../src/util/rng.ts';
import { processorMs } from './timing.ts';

function rowOf(problem: number, sampleIndex: number, isRight: boolean): EvaluationRow {
  return {
    problemId: `p${problem}`,
    sampleIndex,
    question: '',
    prompt: '',
    completion: '',
    solution: '1',
    answer: isRight ? '1' : '2',
    reward: Number(isRight),
    parts: {},
    verdict: isRight ? 'correct' : 'incorrect',
    reason: '',
    formatOk: true,
    stopReason: 'eos',
    tokens: 1,
  };
}

describe('quantiles', () => {
  test('as in the tables', () => {
    expect(normalQuantile(0.975)).toBeCloseTo(1.959963984540054, 12);
    expect(normalQuantile(0.001)).toBeCloseTo(-3.090232306167813, 9);
    const table: [number, number][] = [
      [1, 12.7062047],
      [2, 4.3026527],
      [3, 3.1824463],
      [4, 2.7764451],
      [9, 2.2621572],
      [30, 2.0422725],
      [199, 1.9719565],
    ];
    for (const [freedom, wanted] of table) expect(studentQuantile(0.975, freedom)).toBeCloseTo(wanted, 6);
    expect(studentQuantile(0.025, 4)).toBeCloseTo(-2.7764451, 6);
  });
});

describe('intervals of shares', () => {
  test("Wilson's, by hand", () => {
    // 8 of 10: (0.8 + z^2/20 -+ z sqrt(0.016 + z^2/400)) / (1 + z^2/10)
    const { low, high } = wilson(8, 10);
    expect(low).toBeCloseTo(0.4901625, 6);
    expect(high).toBeCloseTo(0.9433178, 6);
    expect(wilson(0, 20)).toMatchObject({ mean: 0, low: 0 });
    expect(wilson(0, 20).high).toBeCloseTo(0.1611252, 6);
    expect(wilson(20, 20)).toMatchObject({ mean: 1, high: 1 });
    expect(() => wilson(0, 0)).toThrow(expect.objectContaining({ code: 'no-trials' }));
    expect(() => wilson(3, 2)).toThrow(expect.objectContaining({ code: 'no-trials' }));
  });

  test('one sample a problem is plain Wilson; equal samples of a problem count once', () => {
    const shares = Array.from({ length: 50 }, (_, i) => (i < 20 ? 1 : 0));
    expect(clusteredShare(shares, 1)).toEqual(wilson(20, 50));
    const [plain, copied] = [clusteredShare(shares, 1), clusteredShare(shares, 8)];
    expect(copied.high - copied.low).toBeGreaterThan(plain.high - plain.low);
    expect(copied.high - copied.low).toBeLessThan(1.04 * (plain.high - plain.low));
    const even = clusteredShare(new Array(50).fill(0.5), 8);
    expect(even.high - even.low).toBeLessThan(0.6 * (plain.high - plain.low));
    expect(even.low).toBeLessThan(0.5);
  });

  test('holds the share and stays in [0, 1]', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 2, maxLength: 30 }), (correct) => {
        const { mean, low, high } = clusteredShare(
          correct.map((each) => each / 4),
          4,
        );
        expect(low).toBeGreaterThanOrEqual(0);
        expect(low).toBeLessThanOrEqual(mean);
        expect(high).toBeGreaterThanOrEqual(mean);
        expect(high).toBeLessThanOrEqual(1);
        expect(high - low).toBeGreaterThan(0.05);
      }),
    );
  });

  /** Problems of unequal difficulty: the share of right samples has mean `centre`, spread by `spread` in log-odds. */
  const coverage = (problems: number, samples: number, centre: number, spread: number): number => {
    const rng = new Rng({ seed: 11, purpose: 'coverage', id: `${problems} ${samples} ${centre} ${spread}` });
    const chance = (): number => 1 / (1 + Math.exp(-(centre + spread * rng.normal())));
    let truth = 0;
    for (let i = 0; i < 20_000; i++) truth += chance() / 20_000;
    let covered = 0;
    for (let trial = 0; trial < 400; trial++) {
      const shares = Array.from({ length: problems }, () => {
        const p = chance();
        let right = 0;
        for (let s = 0; s < samples; s++) right += Number(rng.uniform() < p);
        return right / samples;
      });
      const { low, high } = clusteredShare(shares, samples);
      covered += Number(low <= truth && truth <= high);
    }
    return covered / 400;
  };

  test('cover the truth 95 times in 100, also for shares near 0 and 1, where the bootstrap does not', () => {
    for (const problems of [20, 100])
      for (const samples of [1, 8])
        for (const [centre, spread] of [
          [-4, 1],
          [-2, 0],
          [0, 1],
          [0, 3],
          [2, 3],
          [4, 1],
        ] as const)
          expect(coverage(problems, samples, centre, spread)).toBeGreaterThan(0.91);
  });

  test('of pass@k know a problem from n / k draws, and still cover the truth', () => {
    const shares = Array.from({ length: 20 }, (_, i) => 0.999 - i / 1e5);
    expect(clusteredShare(shares, 32, 0.95, 16)).toEqual(clusteredShare(shares, 2));
    // One problem in 20 cannot be solved; the others by every second sample.
    const truth = 0.95 * (1 - 0.5 ** 8);
    const rng = new Rng({ seed: 7, purpose: 'pass-at-8' });
    let covered = 0;
    for (let evaluation = 0; evaluation < 200; evaluation++) {
      const rows = Array.from({ length: 20 }, (_, problem) => {
        const rate = rng.uniform() < 0.05 ? 0 : 0.5;
        return Array.from({ length: 16 }, (_, sampleIndex) =>
          rowOf(problem, sampleIndex, rng.uniform() < rate),
        );
      }).flat();
      const { low, high } = detailsOf(rows).passAtK.find(({ k }) => k === 8)!;
      if (low <= truth && truth <= high) covered++;
    }
    expect(covered).toBeGreaterThan(180);
  });

  test('over seeds', () => {
    const spread = overSeeds([0.5, 0.6, 0.7]);
    expect(spread).toMatchObject({ n: 3, smallest: 0.5, largest: 0.7 });
    expect(spread.mean).toBeCloseTo(0.6, 12);
    expect(spread.std).toBeCloseTo(0.1, 12);
    expect(spread.high - spread.mean).toBeCloseTo((4.3026527 * 0.1) / Math.sqrt(3), 6);
    expect(overSeeds([0.5]).low).toBeNaN();
  });
});

describe('maj@k', () => {
  const ballots = (text: string): Ballot[] =>
    [...text].map((letter) => ({ answer: letter === '-' ? null : letter, correct: letter === 'r' }));

  /** By its definition: every subset, a vote, ties shared. */
  const slow = (all: readonly Ballot[], k: number): number => {
    let sum = 0;
    let subsets = 0;
    for (let bits = 0; bits < 2 ** all.length; bits++) {
      const drawn = all.filter((_, i) => (bits >> i) & 1);
      if (drawn.length !== k) continue;
      subsets++;
      const votes = new Map<string, number>();
      for (const { answer } of drawn) if (answer !== null) votes.set(answer, (votes.get(answer) ?? 0) + 1);
      const most = Math.max(0, ...votes.values());
      const winners = [...votes].filter(([, count]) => count === most);
      sum += winners.some(([answer]) => answer === 'r') ? 1 / winners.length : 0;
    }
    return sum / subsets;
  };

  test('by hand', () => {
    expect(majAtK(ballots('rrw'), 3)).toBe(1);
    expect(majAtK(ballots('rw'), 2)).toBe(0.5);
    expect(majAtK(ballots('rwvu'), 4)).toBe(0.25);
    expect(majAtK(ballots('rww'), 3)).toBe(0);
    expect(majAtK(ballots('---r'), 4)).toBe(1);
    expect(majAtK(ballots('rwww'), 1)).toBe(0.25);
    expect(majAtK(ballots('www'), 2)).toBe(0);
  });

  test('is the mean over all subsets', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('r', 'a', 'b', 'c', '-'), { minLength: 1, maxLength: 9 }),
        fc.integer({ min: 1, max: 9 }),
        (letters, wanted) => {
          const all = ballots(letters.join(''));
          const k = Math.min(wanted, all.length);
          expect(majAtK(all, k)).toBeCloseTo(slow(all, k), 10);
        },
      ),
    );
  });

  test('right answers written differently vote together; large n stays exact', () => {
    const mixed = ['1/2', '0.5', '3', '3'].map((answer, i) => ({ answer, correct: i < 2 }));
    expect(majAtK(mixed, 4)).toBe(0.5);
    const many = Array.from({ length: 256 }, (_, i) => ({ answer: String(i % 64), correct: i % 64 < 2 }));
    expect(majAtK(many, 256)).toBe(1);
    const some = majAtK(many, 64);
    expect(some).toBeGreaterThan(0.05);
    expect(some).toBeLessThan(1);
    expect(() => majAtK(many, 257)).toThrow(expect.objectContaining({ code: 'maj-at-k' }));
  });

  test('of a thousand samples and more, whose binomial coefficients overflow', () => {
    // By symmetry: three answers, as many samples of each.
    const thirds = Array.from({ length: 1536 }, (_, i) => ({ answer: String(i % 3), correct: i % 3 === 0 }));
    for (const k of [512, 1024]) expect(majAtK(thirds, k)).toBeCloseTo(1 / 3, 10);
    // 600 right of 1,024, the others silent: any right one drawn wins.
    const silent = Array.from({ length: 1024 }, (_, i) => ({
      answer: i < 600 ? 'r' : null,
      correct: i < 600,
    }));
    expect(majAtK(silent, 512)).toBe(1);
    expect(majAtK(silent, 1)).toBeCloseTo(600 / 1024, 12);
  });

  test('is never above 1, which no evaluation could be written with', () => {
    for (let n = 1; n <= 80; n++)
      for (let right = 1; right <= n; right++)
        for (const k of powersOfTwo(n)) {
          const all = Array.from({ length: n }, (_, i) => ({
            answer: i < right ? 'r' : null,
            correct: i < right,
          }));
          expect(majAtK(all, k)).toBeLessThanOrEqual(1);
        }
  });
});

describe('published measures', () => {
  test('partial correctness has the published steps', () => {
    const of = (prediction: number | null, reference = 100) => partialCorrectness(prediction, reference);
    expect([100, 100.005, 100.5, 104, 109, 140, 151, null].map((x) => of(x))).toEqual([
      1, 1, 0.9, 0.7, 0.5, 0.2, 0, 0,
    ]);
    expect(of(-140, -100)).toBe(0.2);
    expect([of(0, 0), of(0.005, 0), of(3, 0)]).toEqual([1, 0.9, 0]);
  });

  test('answers', () => {
    expect(lastNumber('so 3 and -4.5.')).toBe(-4.5);
    expect(lastNumber('#### 1,234')).toBe(1234);
    expect(lastNumber('1,2')).toBe(2);
    expect(lastNumber('none,')).toBeNull();
    const answers = [
      { prediction: ' 12 ', reference: '12' },
      { prediction: '12.0', reference: '12' },
      { prediction: null, reference: '12' },
      { prediction: '13', reference: '12' },
    ];
    expect(answerAccuracy(answers)).toEqual({
      exactMatch: 0.25,
      numericalAccuracy: 0.5,
      partialCorrectness: (1 + 1 + 0 + 0.5) / 4,
    });
    expect(answerAccuracy([{ prediction: 'x', reference: 'X' }])).toMatchObject({
      exactMatch: 1,
      partialCorrectness: null,
    });
  });

  test('composite', () => {
    expect(compositeScore({ numericalAccuracy: 0.5 })).toBeCloseTo(0.5, 12);
    const whole = { numericalAccuracy: 0.5, cosineSimilarity: 0.9, trainingStability: 0.8 };
    expect(compositeScore(whole)).toBeCloseTo(0.2 + 0.27 + 0.24, 12);
    expect(compositeScore({ numericalAccuracy: 0.5, cosineSimilarity: 1 })).toBeCloseTo(0.5 / 0.7, 12);
  });

  test('training histories', () => {
    const falling = Array.from({ length: 300 }, (_, i) => (i < 150 ? 4 : 1));
    expect(convergenceRate(falling)).toBe(0.75);
    expect(convergenceRate([...falling].reverse())).toBe(0);
    expect(convergenceRate(falling.slice(0, 199))).toBe(0);
    expect(trainingStability(falling)).toBe(1);
    const shaking = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? 1 : 3));
    expect(trainingStability(shaking)).toBe(0.5);
    expect(trainingStability(shaking.slice(0, 49))).toBe(0);
    const rewards = Array.from({ length: 30 }, (_, i) => (i < 15 ? 0.2 : 0.8));
    expect(learningEfficiency(rewards, [1, 31])).toBeCloseTo(0.02, 12);
    expect(learningEfficiency([0.1, 0.4], [10, 20])).toBeCloseTo(0.03, 12);
    expect(gainPerMillionTokens(rewards, 2e6)).toBeCloseTo(0.3, 12);
    expect(gainPerMillionTokens(rewards, 0)).toBeNaN();
  });

  test('reasoning', () => {
    const text = 'Step 1: find the cost\nit is 3 * 4 = 12\nnothing here\nSo, x = 12\n';
    expect(reasoningSteps(text)).toEqual(['Step 1: find the cost', 'it is 3 * 4 = 12', 'So, x = 12']);
    expect(stepCoverage(['3 * 4'], ['3 * 4', '5 + 6'])).toEqual({ coverage: 0.5, precision: 1, f1: 2 / 3 });
    expect(stepCoverage(['3 * 4'], [])).toEqual({ coverage: 0, precision: 0, f1: 0 });
    const good = logicalConsistency(
      'First 2 + 2 = 4, then 4 * 3 = 12, therefore 12. Because 2 is even, so it is.',
    );
    expect(good).toEqual({ overall: 1, numberConsistency: 1, logicalFlow: 1, expressionValidity: 1 });
    expect(logicalConsistency('maybe')).toMatchObject({
      numberConsistency: 0,
      logicalFlow: 0,
      expressionValidity: 0.3,
    });
    expect(logicalConsistency('1 5000 2 9000').numberConsistency).toBe(0.7);
    expect(reasoningScore({ coverage: 0.5, consistency: 1, correctness: 1 })).toBeCloseTo(0.9, 12);
    expect(reasoningScore({ coverage: 0.5, consistency: 1, kl: 1 })).toBeCloseTo(0.675, 12);
  });

  test('are linear in the length of the text', async () => {
    for (const piece of ['1'.repeat(10), '1 '.repeat(5), ' '.repeat(10), 'x =    ', '1,234', 'Step 1'])
      for (const measure of [reasoningSteps, logicalConsistency, lastNumber]) {
        const took = await processorMs(() => measure(piece.repeat(20_000)));
        expect(took).toBeLessThan(2000);
      }
  });
});
