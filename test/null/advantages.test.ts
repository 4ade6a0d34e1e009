/** Owns the tests of group-centred advantages on hand-computed and property cases; TRL parity is a golden test. */

import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import {
  type AdvantageScale,
  decoupledAdvantages,
  estimateAdvantages,
  groupAdvantages,
  leaveOneOutAdvantages,
  returnAdvantages,
  runningAdvantages,
} from '../../src/advantages/index.ts';

const score = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: -5, max: 5, noNaN: true }));
const reward = fc.oneof({ weight: 5, arbitrary: score }, { weight: 1, arbitrary: fc.constant(null) });
const batch = fc.array(fc.array(reward, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 5 });
const scale = fc.constantFrom<AdvantageScale>('group', 'batch', 'none');

function expectClose(got: readonly number[], wanted: readonly number[]): void {
  expect(got).toHaveLength(wanted.length);
  got.forEach((value, i) => {
    expect(value).toBeCloseTo(wanted[i]!, 9);
  });
}

describe('groupAdvantages', () => {
  test('by hand: group, batch and none', () => {
    const rewards = [
      [1, 0, 0, 0],
      [1, 1, 0, 0],
    ];
    const third = groupAdvantages(rewards, { scale: 'group' });
    expectClose(
      third.advantages[0]!,
      [0.75, -0.25, -0.25, -0.25].map((a) => a / (0.5 + 1e-4)),
    );
    expectClose(
      third.advantages[1]!,
      [0.5, 0.5, -0.5, -0.5].map((a) => a / (Math.sqrt(1 / 3) + 1e-4)),
    );
    const batchStd = Math.sqrt((3 * 0.625 ** 2 + 5 * 0.375 ** 2) / 7);
    expect(third.rewardMean).toBe(0.375);
    expect(third.rewardStd).toBeCloseTo(batchStd, 12);
    const whole = groupAdvantages(rewards, { scale: 'batch', epsilon: 0 });
    expectClose(
      whole.advantages[0]!,
      [0.75, -0.25, -0.25, -0.25].map((a) => a / batchStd),
    );
    expect(groupAdvantages(rewards, { scale: 'none' }).advantages[0]).toEqual([0.75, -0.25, -0.25, -0.25]);
    const population = groupAdvantages(rewards, { scale: 'group', epsilon: 0, ddof: 0 });
    expectClose(population.advantages[1]!, [1, 1, -1, -1]);
  });

  test('a null leaves mean and std, and has advantage 0', () => {
    const { advantages, unscored } = groupAdvantages([[1, null, 0, null]], { scale: 'group', epsilon: 0 });
    expectClose(advantages[0]!, [Math.SQRT1_2, 0, -Math.SQRT1_2, 0]);
    expect(unscored).toBe(2);
  });

  test('small groups are dropped, flat groups counted', () => {
    const rewards = [
      [1, null, null],
      [null, null, null],
      [0.1, 0.1, 0.1],
      [1, 0, 1],
    ];
    const result = groupAdvantages(rewards, { scale: 'batch' });
    expect(result).toMatchObject({ droppedGroups: 2, noSpreadShare: 0.25, unscored: 5 });
    expect(result.advantages.slice(0, 3)).toEqual([
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(groupAdvantages([], { scale: 'group' })).toMatchObject({ advantages: [], noSpreadShare: 0 });
    expect(groupAdvantages([[null, null]], { scale: 'batch' }).advantages).toEqual([[0, 0]]);
    expect(groupAdvantages([[1], [0]], { scale: 'batch' }).advantages).toEqual([[0], [0]]);
  });

  test('finite, of the same shape, sums to 0, and keeps the order of rewards', () => {
    fc.assert(
      fc.property(batch, scale, (rewards, by) => {
        const { advantages } = groupAdvantages(rewards, { scale: by });
        rewards.forEach((group, g) => {
          const got = advantages[g]!;
          expect(got).toHaveLength(group.length);
          expect(got.every(Number.isFinite)).toBe(true);
          expect(got.reduce((sum, a) => sum + a, 0)).toBeCloseTo(0, 8);
          group.forEach((r, i) => {
            if (r === null) expect(got[i]).toBe(0);
            group.forEach((other, k) => {
              if (r !== null && other !== null && r > other) expect(got[i]).toBeGreaterThanOrEqual(got[k]!);
            });
          });
        });
      }),
    );
  });

  test('scale group does not see other groups', () => {
    fc.assert(
      fc.property(batch, (rewards) => {
        const whole = groupAdvantages(rewards, { scale: 'group' }).advantages;
        const alone = rewards.map((group) => groupAdvantages([group], { scale: 'group' }).advantages[0]);
        expect(whole).toEqual(alone);
      }),
    );
  });

  test('NaN and infinities are refused', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => groupAdvantages([[1, bad]], { scale: 'none' })).toThrow(
        expect.objectContaining({ code: 'reward-not-finite' }),
      );
    }
  });
});

describe('leaveOneOutAdvantages', () => {
  test("is the reward less the others' mean", () => {
    fc.assert(
      fc.property(batch, (rewards) => {
        const { advantages } = leaveOneOutAdvantages(rewards);
        rewards.forEach((group, g) => {
          group.forEach((r, i) => {
            const others = group.filter((other, k): other is number => k !== i && other !== null);
            const baseline = others.reduce((sum, other) => sum + other, 0) / others.length;
            const wanted = r === null || others.length === 0 ? 0 : r - baseline;
            expect(advantages[g]![i]).toBeCloseTo(wanted, 9);
          });
        });
      }),
    );
  });

  test('normalised over the batch, dropped groups left out', () => {
    const { advantages } = leaveOneOutAdvantages(
      [
        [1, null],
        [1, 0],
        [0, 1],
      ],
      { normalize: true, epsilon: 0 },
    );
    const unit = Math.sqrt(3 / 4);
    expectClose(advantages.flat(), [0, 0, unit, -unit, -unit, unit]);
  });
});

it('equal rewards have advantage 0 also without an epsilon', () => {
  const rewards = [
    [1, 1, 1],
    [1, 1, 1],
  ];
  const zeros = rewards.map((group) => group.map(() => 0));
  for (const scale of ['group', 'batch', 'none'] as const)
    expect(groupAdvantages(rewards, { scale, epsilon: 0 }).advantages).toEqual(zeros);
  expect(leaveOneOutAdvantages(rewards, { normalize: true, epsilon: 0 }).advantages).toEqual(zeros);
  expect(runningAdvantages(rewards, null, { maxMomentum: 0.5, epsilon: 0 }).advantages).toEqual(zeros);
  const parts = rewards.map((group) => group.map((reward) => [reward, 0]));
  expect(decoupledAdvantages(parts, [1, 1], { epsilon: 0 }).advantages).toEqual(zeros);
});

describe('decoupledAdvantages', () => {
  test('each function counts by its weight, whatever its scale', () => {
    const small = [
      [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ],
    ];
    const stretched = small.map((group) => group.map(([a, b]) => [a!, 1000 * b!]));
    const one = decoupledAdvantages(small, [1, 0.5], { epsilon: 0 }).advantages.flat();
    expectClose(decoupledAdvantages(stretched, [1, 0.5], { epsilon: 0 }).advantages.flat(), one);
    const spread = Math.sqrt((2 * 1.5 ** 2 + 2 * 0.5 ** 2) / 3);
    expectClose(
      one,
      [-1.5, -0.5, 0.5, 1.5].map((a) => a / spread),
    );
  });

  test('a missing component is left out, a sample without any has advantage 0', () => {
    const rewards = [
      [
        [1, null],
        [0, null],
        [null, null],
      ],
      [
        [1, 1],
        [0, 0],
        [1, 0],
      ],
    ];
    const { advantages, unscored, droppedGroups } = decoupledAdvantages(rewards, [1, 1]);
    expect(advantages[0]![2]).toBe(0);
    expect(advantages[0]![0]).toBeCloseTo(-advantages[0]![1]!, 9);
    expect({ unscored, droppedGroups }).toEqual({ unscored: 1, droppedGroups: 0 });
  });
});

describe('running normalisation with momentum', () => {
  it('follows the seed: the first group sets it, momentum rises by 0.1 to its bound', () => {
    const groups = [
      [1, 3],
      [5, 9],
      [0, 4],
    ];
    const { advantages, state } = runningAdvantages(groups, null, { maxMomentum: 0.15, epsilon: 0 });
    const root = Math.SQRT2;
    // Group 1: mean 2, std sqrt 2. Group 2 (m 0.1): 0.1 x 2 + 0.9 x 7, and so on. Group 3 (m 0.15).
    const second = { mean: 6.5, std: 0.1 * root + 0.9 * 2 * root };
    const third = { mean: 0.15 * second.mean + 0.85 * 2, std: 0.15 * second.std + 0.85 * 2 * root };
    expect(advantages[0]).toEqual([-1 / root, 1 / root]);
    expect(advantages[1]![0]).toBeCloseTo((5 - second.mean) / second.std, 12);
    expect(advantages[2]![1]).toBeCloseTo((4 - third.mean) / third.std, 12);
    expect(state).toMatchObject({ momentum: 0.15 });
  });

  it('is GRPO at momentum 0, and the same in one call as in two', () => {
    const groups = [
      [1, 2, 4],
      [0, 0, 1],
    ];
    const plain = groupAdvantages(groups, { scale: 'group' }).advantages;
    expect(runningAdvantages(groups, null, { maxMomentum: 0 }).advantages).toEqual(plain);
    const whole = runningAdvantages(groups, null, { maxMomentum: 0.9 });
    const first = runningAdvantages(groups.slice(0, 1), null, { maxMomentum: 0.9 });
    const second = runningAdvantages(groups.slice(1), JSON.parse(JSON.stringify(first.state)), {
      maxMomentum: 0.9,
    });
    expect([...first.advantages, ...second.advantages]).toEqual(whole.advantages);
  });

  it('leaves out what is not known', () => {
    const { advantages, state } = runningAdvantages(
      [
        [null, 1],
        [1, null, 3],
      ],
      null,
      { maxMomentum: 0.5 },
    );
    expect(advantages[0]).toEqual([0, 0]);
    expect(advantages[1]![1]).toBe(0);
    expect(state?.mean).toBe(2);
  });
});

describe('estimators by name', () => {
  const batch = {
    totals: [
      [1, 3],
      [2, null],
    ],
    parts: [
      [[1], [3]],
      [[2], [null]],
    ],
    weights: [1],
  };

  it('none is the reward itself, whitening brings the batch to mean 0 and std 1', () => {
    const none = { baseline: 'none', scale: 'none' } as const;
    expect(estimateAdvantages(batch, none).advantages).toEqual([
      [1, 3],
      [2, 0],
    ]);
    const { advantages } = estimateAdvantages(batch, { ...none, whiten: true });
    expect(advantages[0]![0]).toBeCloseTo(-1, 6);
    expect(advantages[0]![1]).toBeCloseTo(1, 6);
    expect(advantages[1]).toEqual([expect.closeTo(0, 6), 0]);
  });
});

describe('returnAdvantages', () => {
  it('sums what is to come of KL penalties and the score', () => {
    const kl = [[0.1, 0.2, 0.4], [0.5]];
    const got = returnAdvantages([2, 1], [3, 1], kl, { klCoefficient: 0.5, gamma: 1, whiten: false });
    expect(got[0]!.map((x) => Number(x.toFixed(9)))).toEqual([1.65, 1.7, 1.8]);
    expect(got[1]).toEqual([0.75]);
    const halved = returnAdvantages([2], [3], null, { klCoefficient: 0.5, gamma: 0.5, whiten: false });
    expect(halved).toEqual([[0.5, 1, 2]]);
  });

  it('whitens over the tokens of scored completions, long ones with more weight', () => {
    const got = returnAdvantages([1, null, 0], [3, 2, 1], null, { klCoefficient: 0, gamma: 1, whiten: true });
    // Tokens 1, 1, 1, 0: mean 0.75, unbiased variance 0.25.
    expect(got[0]!.every((x) => Math.abs(x - 0.5) < 1e-6)).toBe(true);
    expect(got[1]).toEqual([0, 0]);
    expect(got[2]![0]).toBeCloseTo(-1.5, 6);
  });
});
