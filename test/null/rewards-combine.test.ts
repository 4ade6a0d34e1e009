import { describe, expect, test } from 'vitest';
import { game24Problem } from '../../src/data/index.ts';
import {
  combine,
  combineGroups,
  game24Task,
  type Reward,
  type RewardFunction,
  type Sample,
  scoreGroups,
} from '../../src/rewards/index.ts';
import { ReckonError } from '../../src/util/errors.ts';

const problem = game24Problem([1, 2, 3, 4]);

function sampleOf(sampleIndex: number, text = '#1*2*3*4'): Sample {
  const rollout = {
    problemId: problem.id,
    sampleIndex,
    promptIds: [1],
    completionIds: [2, 3],
    logps: [0, 0],
    samplingLogps: [0, 0],
    stopReason: 'eos',
    text,
    policyStep: 0,
  } as const;
  return { problem, rollout };
}

const sample = sampleOf(0);
const reward = (name: string, weight: number, score: number | null): Reward => ({
  name,
  weight,
  score: () => score,
});
const failing = (score: RewardFunction, more: Partial<Reward> = {}): Reward => ({
  name: 'mine',
  weight: 1,
  score,
  ...more,
});

describe('combine', () => {
  test('is the weighted sum, parts unweighted', async () => {
    const rewards = [reward('correct', 1, 1), reward('format', 0.5, 0.5), reward('length', -0.25, 2)];
    expect(await combine(rewards, sample)).toEqual({
      reward: 0.75,
      parts: { correct: 1, format: 0.5, length: 2 },
    });
    expect(await combine([], sample)).toEqual({ reward: 0, parts: {} });
  });

  test('a null makes the total null, unless it is only watched or says what counts instead', async () => {
    const rewards = [reward('correct', 1, null), reward('format', 1, 1)];
    const parts = { correct: null, format: 1 };
    expect(await combine(rewards, sample)).toEqual({ reward: null, parts });
    expect((await combine([...rewards].reverse(), sample)).reward).toBeNull();
    expect((await combine([reward('watched', 0, null), reward('format', 1, 1)], sample)).reward).toBe(1);
    const replaced = [{ ...reward('correct', 2, null), missing: -0.25 }, reward('format', 1, 1)];
    expect(await combine(replaced, sample)).toEqual({ reward: 0.5, parts });
  });

  test('NaN, no number and repeated names are refused', async () => {
    for (const score of [Number.NaN, Number.POSITIVE_INFINITY, undefined, '1'])
      await expect(combine([reward('a', 1, score as number)], sample)).rejects.toMatchObject({
        code: 'reward-not-finite',
      });
    await expect(combine([reward('a', 1, 1), reward('a', 1, 1)], sample)).rejects.toMatchObject({
      code: 'duplicate-reward',
    });
  });
});

describe('functions that wait', () => {
  test('are awaited together, and answers keep the order of the samples', async () => {
    const groups = [0, 1, 2].map((g) => [0, 1, 2, 3].map((i) => sampleOf(4 * g + i)));
    let [running, most] = [0, 0];
    const slow = failing(async ({ rollout }) => {
      most = Math.max(most, ++running);
      await new Promise((done) => setTimeout(done, 12 - rollout.sampleIndex));
      running--;
      return rollout.sampleIndex;
    });
    const combined = await combineGroups([slow], groups);
    expect(combined.flat().map((one) => one.reward)).toEqual(groups.flat().map((_, i) => i));
    expect(most).toBe(12);
  });

  test('are not all started at once', async () => {
    let [running, most] = [0, 0];
    const slow = failing(async () => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
      return 0;
    });
    await combineGroups([slow], [Array.from({ length: 300 }, (_, i) => sampleOf(i))]);
    expect(most).toBe(64);
  });

  test('may see a whole group', async () => {
    const relative: Reward = {
      ...failing(() => null),
      scoreGroup: async (samples) => samples.map((one) => one.rollout.sampleIndex / samples.length),
    };
    const combined = await combineGroups([relative], [[sampleOf(0), sampleOf(1)], [sampleOf(1)], []]);
    expect(combined.map((group) => group.map((one) => one.reward))).toEqual([[0, 0.5], [1], []]);
    const short: Reward = { ...relative, scoreGroup: () => [1] };
    await expect(combineGroups([short], [[sampleOf(0), sampleOf(1)]])).rejects.toThrow(
      "reward 'mine' failed on the 2 samples of game24/1-2-3-4: expected 2 scores, found 1",
    );
  });
});

describe('a function that fails', () => {
  const bad: RewardFunction = ({ rollout }) => {
    if (rollout.sampleIndex >= 2) throw new TypeError('no such field');
    return 1;
  };

  test('ends it with an error that names the reward and the first sample', async () => {
    const groups = [[sampleOf(0), sampleOf(1), sampleOf(2), sampleOf(3)]];
    for (const score of [bad, async (one: Sample) => bad(one)]) {
      const error: unknown = await combineGroups([failing(score)], groups).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(ReckonError);
      expect(error).toMatchObject({ code: 'reward-failed', cause: expect.any(TypeError) });
      expect((error as ReckonError).message).toContain(
        "reward 'mine' failed on sample 2 of game24/1-2-3-4: no such field",
      );
    }
  });

  test("is named for errors of reckon's own too", async () => {
    const score = (): never => {
      throw new ReckonError('data', 'not-countdown', 'no target');
    };
    await expect(combine([failing(score)], sample)).rejects.toThrow(
      "reward 'mine' failed on sample 0 of game24/1-2-3-4: no target",
    );
  });

  test('is a null where the recipe says so', async () => {
    const groups = [[sampleOf(0), sampleOf(2)]];
    const [first, third] = (await combineGroups([failing(bad, { onError: 'missing' })], groups))[0]!;
    expect([first!.reward, third!.reward]).toEqual([1, null]);
    const nan = failing(() => Number.NaN, { onError: 'missing', missing: -1 });
    expect(await combine([nan], sample)).toEqual({ reward: -1, parts: { mine: null } });
  });

  test('has so much time, and is told when it is over', async () => {
    let told = false;
    const never: RewardFunction = (_, signal) =>
      new Promise(() => {
        signal!.addEventListener('abort', () => {
          told = true;
        });
      });
    await expect(combine([failing(never, { timeout: 20 })], sample)).rejects.toMatchObject({
      code: 'reward-late',
      message: expect.stringContaining(
        "'mine' failed on sample 0 of game24/1-2-3-4: it took more than 20 ms",
      ),
    });
    expect(told).toBe(true);
    const patient = failing(never, { timeout: 20, onError: 'missing' });
    expect((await combine([patient], sample)).reward).toBeNull();
    const slow: RewardFunction = () => new Promise((resolve) => setTimeout(() => resolve(1), 20));
    expect((await combine([failing(slow, { timeout: 2 ** 40 })], sample)).reward).toBe(1);
  });
});

test('scored groups hold rewards, parts and verdicts', async () => {
  const task = game24Task(24);
  const rollouts = [sampleOf(0, '#1*2*3*4'), sampleOf(1, '#1+2+3+4')].map((one) => one.rollout);
  const rewards = [{ name: 'correct', weight: 2, score: task.rewards['correct']! }];
  const [group] = await scoreGroups(task, rewards, [{ problem, rollouts }]);
  expect(group!.scored.map((one) => [one.reward, one.judgement.verdict])).toEqual([
    [2, 'correct'],
    [0, 'incorrect'],
  ]);
});
