/** The teacher's intrinsic reward from models: which logits a token's reward comes from, padding, chunks, cut ends, cache. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Decoder, saveModel } from '../../src/models/index.ts';
import { teacherScores } from '../../src/rewards/intrinsic/teacher-scores.ts';
import type { Rollout } from '../../src/rollouts/index.ts';
import { cat, ids, noGrad, scope, tensor } from '../../src/torch/index.ts';
import { RewardShaping } from '../../src/train/reward-shaping.ts';
import type { Session, TrainContext } from '../../src/train/session.ts';
import { type TeacherRewardOptions, TeacherRewards } from '../../src/train/teacher-rewards.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const rng = new Rng({ seed: 8, purpose: 'teacher-test' });
const tokens = (count: number) => Array.from({ length: count }, () => 3 + rng.integer(tokenizer.size - 3));
const rollouts: readonly Rollout[] = [6, 1, 11, 4].map((length, i) => ({
  problemId: `p${i}`,
  sampleIndex: 0,
  promptIds: tokens(2 + i),
  completionIds: tokens(length),
  logps: [],
  samplingLogps: [],
  stopReason: i % 2 === 0 ? 'eos' : 'length',
  text: '',
  policyStep: 0,
}));

/** Logits over the tokenizer's ids after every id of a sequence, one list each, from a plain pass. */
function logitsAfter(model: Decoder, all: readonly number[]): number[][] {
  return noGrad(() =>
    scope(() => {
      const hidden = model.forward(ids(Int32Array.from(all), [1, all.length])).select(0, 0);
      const head = model.headWeight.narrow(0, 0, tokenizer.size);
      const flat = [...hidden.linear(head).toFloat32()];
      return all.map((_, t) => flat.slice(t * tokenizer.size, (t + 1) * tokenizer.size));
    }),
  );
}

const softMaximum = (q: readonly number[], alpha: number) => {
  const most = Math.max(...q);
  return most + alpha * Math.log(q.reduce((sum, x) => sum + Math.exp((x - most) / alpha), 0));
};

/** Q(s_t, a_t) - gamma V(s_t+1), from the definition. */
function rewardsByHand(model: Decoder, rollout: Rollout, alpha: number, gamma: number): number[] {
  const logits = logitsAfter(model, [...rollout.promptIds, ...rollout.completionIds]);
  const start = rollout.promptIds.length - 1;
  return rollout.completionIds.map((id, t) => {
    const last = t === rollout.completionIds.length - 1;
    const next = last && rollout.stopReason === 'eos' ? 0 : softMaximum(logits[start + t + 1]!, alpha);
    return logits[start + t]![id]! - gamma * next;
  });
}

describe('scores of a teacher', () => {
  const alpha = 0.7;

  it('come from the logits before each token, whatever the chunks and the padding of the vocabulary', () => {
    using model = tinyModel();
    const { promptIds, completionIds } = rollouts[2]!;
    const all = [...promptIds, ...completionIds];
    const logits = logitsAfter(model, all);
    const places = completionIds.map((_, t) => promptIds.length - 1 + t);
    const scoresWith = (padding: number, chunkTokens?: number) =>
      scope(() => {
        const hidden = noGrad(() => model.forward(ids(Int32Array.from(all), [1, all.length])).select(0, 0));
        const rows = tensor(Array.from({ length: padding * 32 }, (_, i) => 40 + (i % 7))).view([padding, 32]);
        const own = model.headWeight.detach().narrow(0, 0, tokenizer.size);
        return teacherScores(
          hidden.indexSelect(0, ids(Int32Array.from(places))),
          padding > 0 ? cat([own, rows]) : own,
          ids(Int32Array.from(completionIds)),
          { alpha, vocabulary: tokenizer.size, ...(chunkTokens ? { chunkTokens } : {}) },
        );
      });
    const plain = scoresWith(0);
    completionIds.forEach((id, t) => {
      const q = logits[places[t]!]!;
      const v = softMaximum(q, alpha);
      expect(plain.q[t]).toBeCloseTo(q[id]!, 5);
      expect(plain.v[t]).toBeCloseTo(v, 5);
      expect(plain.mean[t]).toBeCloseTo(q.reduce((sum, x) => sum + x, 0) / q.length, 5);
      expect(plain.logp[t]).toBeCloseTo((q[id]! - v) / alpha, 5);
    });
    for (const other of [scoresWith(9), scoresWith(0, 1), scoresWith(9, 4)])
      for (const name of ['q', 'v', 'mean', 'logp'] as const)
        expect(largestDifference(other[name], plain[name])).toBeLessThan(1e-5);
  });
});

describe('rewards of a step', () => {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-teacher-'));
  beforeAll(() => {
    for (const [name, vocabSize, padTokenId] of [
      ['plain', tokenizer.size, 0],
      ['padded', tokenizer.size + 13, 0],
      ['pad id beyond the tokens', tokenizer.size + 13, tokenizer.size + 5],
      ['pad id beyond the rows', tokenizer.size + 13, tokenizer.size + 99],
      ['pad id -1', tokenizer.size, -1],
    ] as const) {
      using model = tinyModel({ vocabSize, padTokenId });
      saveModel(model, join(folder, name));
      tokenizer.save(join(folder, name));
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const options: TeacherRewardOptions = {
    teacher: join(folder, 'plain'),
    form: 'bellman',
    alpha: 0.7,
    gamma: 0.9,
    normaliser: { name: 'none', clip: null },
    cache: null,
    truncated: 'bootstrap',
  };

  function teacherWith(changes: Partial<TeacherRewardOptions>, budget = 64): TeacherRewards {
    const compute = { device: 'cpu', dtype: 'bf16', threads: 1, kernels: 'none' };
    const context = { name: 'ppo', directory: folder, compute } as unknown as TrainContext;
    const session = { tokenizer, extra: {}, resumedFrom: null, alsoSave: () => {} } as unknown as Session;
    return new TeacherRewards(session, context, { ...options, ...changes }, budget);
  }

  it.each(['plain', 'padded', 'pad id beyond the tokens', 'pad id beyond the rows', 'pad id -1'])(
    'equal the definition, cut ends bootstrapped: %s',
    (name) => {
      using model = tinyModel({ vocabSize: tokenizer.size + (/plain|-1/.test(name) ? 0 : 13) });
      for (const budget of [1, 10_000]) {
        using teacher = teacherWith({ teacher: join(folder, name) }, budget);
        const { rewards, metrics } = teacher.rewardsOf(rollouts);
        rollouts.forEach((rollout, i) => {
          const wanted = rewardsByHand(model, rollout, options.alpha, options.gamma);
          expect(largestDifference(rewards[i]!, wanted)).toBeLessThan(1e-5);
        });
        expect(metrics['intrinsic/unknown']).toBe(0);
      }
    },
  );

  it('are the same from the cache, which sees shared beginnings', () => {
    using bare = teacherWith({});
    using teacher = teacherWith({ cache: { maxBytes: 1 << 20, eviction: 'lru' } });
    const wanted = bare.rewardsOf(rollouts).rewards.flat();
    const cold = teacher.rewardsOf(rollouts);
    expect(cold.metrics['perf/score_cache_hit_rate']).toBe(0);
    const warm = teacher.rewardsOf(rollouts);
    expect(warm.metrics['perf/score_cache_hit_rate']).toBe(0.5);
    expect(warm.rewards).toEqual(cold.rewards);
    expect(largestDifference(cold.rewards.flat(), wanted)).toBeLessThan(1e-5);
    const longer = { ...rollouts[2]!, completionIds: [...rollouts[2]!.completionIds, 4, 2] };
    const shared = teacher.rewardsOf([longer]);
    expect(shared.metrics['perf/score_cache_hit_rate']).toBeGreaterThan(0.5);
    expect(largestDifference(shared.rewards.flat(), bare.rewardsOf([longer]).rewards.flat())).toBeLessThan(
      1e-5,
    );
  });

  it('leave out the last token of a cut-off completion where it is masked, but for logprob', () => {
    const rewardsWith = (changes: Partial<TeacherRewardOptions>) => {
      using teacher = teacherWith(changes);
      return teacher.rewardsOf(rollouts);
    };
    for (const form of ['bellman', 'centered', 'logprob'] as const) {
      const wanted = rewardsWith({ form });
      const masked = rewardsWith({ form, truncated: 'mask' });
      const unknown = form === 'logprob' ? 0 : 2;
      expect(masked.metrics['intrinsic/unknown']).toBe(unknown);
      rollouts.forEach(({ stopReason }, i) => {
        const cut = stopReason === 'length' && form !== 'logprob';
        const last = wanted.rewards[i]!.length - 1;
        const expected = wanted.rewards[i]!.map((value, t) => (cut && t === last ? 0 : value));
        expect(largestDifference(masked.rewards[i]!, expected)).toBeLessThan(1e-5);
      });
    }
  });

  it('are summed over a completion for methods that know it as a whole', () => {
    const compute = { device: 'cpu', dtype: 'bf16', threads: 1, kernels: 'none' };
    const context = { name: 'grpo', directory: folder, compute } as unknown as TrainContext;
    const session = { tokenizer, extra: {}, resumedFrom: null, alsoSave: () => {} } as unknown as Session;
    using teacher = teacherWith({});
    const sums = teacher.rewardsOf(rollouts).rewards.map((row) => row.reduce((sum, value) => sum + value, 0));
    const scored = rollouts.map((rollout, i) => ({
      rollout,
      reward: 0,
      parts: { known: i, unknown: i === 3 ? null : 2 },
      judgement: { verdict: 'incorrect' as const, reason: '', extracted: '' },
      formatOk: true,
    }));
    const shaped = (missing?: number) => {
      using shaping = new RewardShaping(session, context, {
        rewards: [
          { name: 'known', weight: 0.5 },
          { name: 'unknown', weight: 1, ...(missing === undefined ? {} : { missing }) },
        ],
        intrinsic: { ...options, weight: 0.1 },
        adaptiveWeights: null,
        microBatchTokens: 64,
      });
      const groups = [{ problem: { id: 'p' } as never, scored }];
      return shaping.shapeGroups(groups).groups[0]!.scored;
    };
    shaped().forEach((one, i) => {
      expect(one.parts['intrinsic']).toBeCloseTo(sums[i]!, 5);
      if (i === 3) expect(one.reward).toBeNull();
      else expect(one.reward).toBeCloseTo(0.5 * i + 2 + 0.1 * sums[i]!, 5);
    });
    expect(shaped(-1)[3]!.reward).toBeCloseTo(0.5 * 3 - 1 + 0.1 * sums[3]!, 5);
  });

  it('refuse an id that is no token', () => {
    using teacher = teacherWith({ teacher: join(folder, 'padded') });
    const outside = { ...rollouts[0]!, completionIds: [4, tokenizer.size + 1] };
    expect(() => teacher.rewardsOf([outside])).toThrow(`the policy sampled id ${tokenizer.size + 1}`);
  });
});
