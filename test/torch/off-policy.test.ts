/** What a step learns from beside its own rollouts and its own policy: replayed groups, references, a value model apart. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { lossWeights } from '../../src/losses/index.ts';
import { saveModel, ValueHead } from '../../src/models/index.ts';
import { backward, ids, noGrad, scope, tensor } from '../../src/torch/index.ts';
import { accumulateValueGradient } from '../../src/train/critic.ts';
import { temperatureAt } from '../../src/train/grpo.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  recordedLogps,
} from '../../src/train/policy-update.ts';
import { Reference } from '../../src/train/reference.ts';
import { type EndedSequence, Replay } from '../../src/train/replay.ts';
import type { Session, TrainContext } from '../../src/train/session.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const folder = mkdtempSync(join(tmpdir(), 'reckon-off-policy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const rng = new Rng({ seed: 4, purpose: 'off-policy-test' });
const tokens = (count: number) => Array.from({ length: count }, () => 3 + rng.integer(20));
const sequence = (advantage: number): EndedSequence => {
  const completionIds = tokens(3 + rng.integer(8));
  const logps = completionIds.map(() => -3 * rng.uniform());
  return {
    promptIds: [1, ...tokens(4)],
    completionIds,
    logps,
    samplingLogps: logps,
    advantage,
    stopReason: 'eos',
  };
};

/** A session that only says where it was resumed, and what is saved with a checkpoint. */
function sessionWith(resumedFrom: string | null = null) {
  const saved: ((folder: string, step: number) => void)[] = [];
  const session = { resumedFrom, alsoSave: (write: (typeof saved)[number]) => saved.push(write) };
  return { session: session as unknown as Session, saved };
}

describe('a memory of groups', () => {
  const options = { capacity: 3, groupsPerStep: 2, maxAge: 2 };
  const groupsOf = (step: number, count: number) =>
    Array.from({ length: count }, (_, i) => [sequence(step + i / 10), sequence(-1)]);
  const firsts = (drawn: { sequences: readonly PolicySequence[] }) =>
    drawn.sequences.filter((one) => one.advantage > 0).map((one) => one.advantage);

  it('drops the oldest first, and what is too old', () => {
    const replay = new Replay(sessionWith().session, { ...options, groupsPerStep: 9 });
    expect(replay.draw(1, 0)).toEqual({ sequences: [], age: null });
    replay.add(1, groupsOf(1, 2));
    replay.add(2, groupsOf(2, 2));
    expect(firsts(replay.draw(3, 0)).sort()).toEqual([1.1, 2, 2.1]);
    expect(firsts(replay.draw(4, 0)).sort()).toEqual([2, 2.1]);
    expect(firsts(replay.draw(5, 0))).toEqual([]);
  });

  it('gives whole groups, each once, marked, with their age, and forgets those that taught nothing', () => {
    const replay = new Replay(sessionWith().session, options);
    replay.add(1, [...groupsOf(1, 3), [sequence(0), sequence(0)]]);
    const drawn = replay.draw(2, 7);
    expect(drawn.sequences.length).toBe(4);
    expect(drawn.sequences.every((one) => one.replayed)).toBe(true);
    expect(new Set(firsts(drawn)).size).toBe(2);
    expect(drawn.age).toBe(1);
    expect(replay.draw(2, 7)).toEqual(drawn);
  });

  it('is the same again from a checkpoint', () => {
    const { session, saved } = sessionWith();
    const replay = new Replay(session, options);
    replay.add(1, groupsOf(1, 3));
    const path = join(folder, 'replay');
    mkdirSync(join(path, 'trainer'), { recursive: true });
    for (const write of saved) write(path, 1);
    expect(readFileSync(join(path, 'trainer', 'replay.jsonl'), 'utf8').split('\n').length).toBe(4);
    const again = new Replay(sessionWith(path).session, options);
    for (const step of [2, 3]) expect(again.draw(step, 5)).toEqual(replay.draw(step, 5));
  });
});

describe('a replayed sequence', () => {
  const one = sequence(1.3);
  const update = (replayed: boolean, shift: number, fresh: readonly PolicySequence[] = []) => {
    using policy = tinyModel();
    const batches = cutMicroBatches([one], 1000, 0);
    const samplingLogps = [...recordedLogps(policy, batches, 1)[0]!].map((logp) => logp - shift);
    const sequences = [{ ...one, samplingLogps, replayed }, ...fresh];
    const sums = accumulatePolicyGradient({
      policy,
      reference: null,
      sequences,
      batches: cutMicroBatches(sequences, 1000, 0),
      weights: lossWeights(
        sequences.map((each) => each.completionIds.length),
        'sequences',
        32,
      ),
      oldLogps: null,
      temperature: 1,
      truncated: false,
      loss: {
        clip: { low: 0.2, high: 0.2 },
        kl: { beta: 0, estimator: 'k3' },
        importance: { level: 'token', beyond: 'truncate', max: 2 },
      },
    });
    return { sums, gradients: takeGradients(policy) };
  };

  it.each([
    [0.3, Math.exp(0.3)],
    [-0.5, Math.exp(-0.5)],
    [1.5, 2],
  ])('counts by the ratio of now to its sampler, within bounds: %f', (shift, weight) => {
    const plain = update(false, shift).gradients;
    for (const [name, gradient] of update(true, shift).gradients)
      expect(
        largestDifference(
          gradient,
          plain.get(name)!.map((value) => value * weight),
        ),
        name,
      ).toBeLessThan(1e-5);
  });

  it('is not compared with the engine, and leaves the weights of fresh ones at 1', () => {
    const fresh = [sequence(-0.7)];
    const both = update(true, 1.5, fresh);
    expect(both.sums.compared).toBe(fresh[0]!.completionIds.length);
    expect(both.sums.targets).toBe(fresh[0]!.completionIds.length + one.completionIds.length);
    const alone = update(true, 1.5);
    const other = update(false, 0, fresh);
    const half = update(false, 0);
    for (const [name, gradient] of both.gradients) {
      // In a mean over two sequences each has half the weight it has alone.
      const wanted = gradient.map(
        (_, i) =>
          alone.gradients.get(name)![i]! / 2 +
          other.gradients.get(name)![i]! -
          half.gradients.get(name)![i]! / 2,
      );
      expect(largestDifference(gradient, wanted), name).toBeLessThan(1e-5);
    }
  });
});

describe('a reference policy', () => {
  const path = join(folder, 'other');
  const context = {
    name: 'grpo',
    parent: path,
    compute: { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' },
  } as unknown as TrainContext;
  const save = (vocabSize: number) => {
    using other = tinyModel({ vocabSize }, 'f32', 2);
    saveModel(other, path);
    tokenizer.save(path);
  };

  it('moves towards the policy every few steps, and not between', () => {
    save(tokenizer.size);
    using policy = tinyModel();
    using other = tinyModel({}, 'f32', 2);
    const { session } = sessionWith();
    Object.assign(session, { policy, tokenizer });
    using reference = new Reference(session, context, {
      reference: path,
      referenceSync: { every: 2, mixup: 0.6 },
    });
    const weightsOf = () => scope(() => reference.model!.headWeight.toFloat32());
    const [ours, theirs] = [policy, other].map((model) => scope(() => model.headWeight.detach().toFloat32()));
    const mixed = (share: number) => ours!.map((value, i) => share * value + (1 - share) * theirs![i]!);
    expect(weightsOf()).toEqual(theirs);
    reference.follow(policy, 1);
    expect(weightsOf()).toEqual(theirs);
    reference.follow(policy, 2);
    expect(largestDifference(weightsOf(), mixed(0.6))).toBeLessThan(1e-6);
    reference.follow(policy, 4);
    expect(largestDifference(weightsOf(), mixed(0.84))).toBeLessThan(1e-6);
  });

  it('is refused where its vocabulary has other rows', () => {
    save(tokenizer.size + 8);
    using policy = tinyModel();
    const { session } = sessionWith();
    Object.assign(session, { policy, tokenizer });
    expect(() => new Reference(session, context, { reference: path })).toThrow(
      `the policy has ${tokenizer.size} rows`,
    );
  });
});

it('the temperature goes from one end to the other, by factors or by differences', () => {
  const sampling = { temperature: 1.6, topP: 1, maxCompletionTokens: 8 };
  const at = (temperatureSchedule: 'exponential' | 'linear') =>
    [1, 2, 3].map((step) =>
      temperatureAt(step, { sampling, steps: 3, temperatureEnd: 0.4, temperatureSchedule }),
    );
  expect(largestDifference(at('exponential'), [1.6, 0.8, 0.4])).toBeLessThan(1e-12);
  expect(largestDifference(at('linear'), [1.6, 1, 0.4])).toBeLessThan(1e-12);
  expect(temperatureAt(2, { sampling, steps: 3 })).toBe(1.6);
});

describe('a value model apart', () => {
  it('learns from values alone: its gradient is that of the definition, and the policy is not in it', () => {
    const valued = [sequence(1), sequence(1), sequence(1)].map((one) => ({
      ...one,
      values: one.completionIds.map(() => rng.normal()),
      returns: one.completionIds.map(() => rng.normal()),
    }));
    const all = valued.reduce((sum, one) => sum + one.completionIds.length, 0);
    const gradientsOf = (work: (trunk: ReturnType<typeof tinyModel>, head: ValueHead) => void) => {
      using trunk = tinyModel();
      using head = new ValueHead(trunk.config.hiddenSize, 'cpu');
      noGrad(() =>
        scope(() => {
          const weight = head.stateDict().get('weight')!;
          weight.copy_(
            tensor(Array.from({ length: weight.numel }, (_, i) => Math.sin(i) / 10)).view(weight.shape),
          );
        }),
      );
      work(trunk, head);
      return new Map([...takeGradients(trunk), ...takeGradients(head)]);
    };
    const wanted = gradientsOf((trunk, head) =>
      scope(() => {
        const terms = valued.map(({ promptIds, completionIds, values, returns }) => {
          const input = [...promptIds, ...completionIds];
          const states = trunk
            .forward(ids(Int32Array.from(input), [1, input.length]))
            .select(0, 0)
            .narrow(0, promptIds.length - 1, completionIds.length);
          const [now, old, goal] = [head.forward(states), tensor(values), tensor(returns)];
          const near = old.add(now.sub(old).clamp(-0.2, 0.2));
          return now.sub(goal).square().maximum(near.sub(goal).square()).mul(0.5).sum();
        });
        backward(terms.reduce((sum, term) => sum.add(term)).div(all));
      }),
    );
    for (const budget of [1, 10_000]) {
      const found = gradientsOf((trunk, head) => {
        accumulateValueGradient(trunk, head, cutMicroBatches(valued, budget, 0), valued, 0.2, true);
      });
      expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
      for (const [name, gradient] of wanted)
        expect(largestDifference(found.get(name)!, gradient), name).toBeLessThan(1e-5);
    }
  });
});
