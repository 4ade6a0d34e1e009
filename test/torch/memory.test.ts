/** A device without memory: what its error is, what a stage does about it, and where models go when there are several. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stageFunctions } from '../../src/run/stage-functions.ts';
import { withinMemory } from '../../src/run/stage-memory.ts';
import { placeModels } from '../../src/run/stages/models.ts';
import { fromBytes, lacksMemory, zeros } from '../../src/torch/index.ts';
import { Harness, recipeWith, type StageWork } from './stage-harness.ts';

const harness = new Harness();
const recipe = recipeWith(
  '- { type: sft, steps: 10, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 1.0e-3 }',
);

beforeAll(() => harness.prepare(recipe), 60_000);
afterAll(() => harness[Symbol.dispose]());

/** More than any machine has. */
const tooMuch = () => zeros([2 ** 48], 'f32');

describe('an error for want of memory', () => {
  it('is known as one, with the operator and the bytes', () => {
    let found: unknown;
    try {
      tooMuch();
    } catch (error) {
      found = error;
    }
    expect(lacksMemory(found)).toBe(true);
    expect(String(found)).toMatch(/zeros.*allocate.*microBatchTokens/s);
  });

  it('is no other error', () => {
    let found: unknown;
    try {
      fromBytes(new Float32Array(3), 'f32', [4]);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(Error);
    expect(lacksMemory(found)).toBe(false);
  });
});

describe('a stage that runs out of memory', () => {
  /** Trains `steps` steps and runs out of memory, as often as `fails` says. */
  const failing = (name: string, fails: number, said: string[], budgets: number[]): StageWork => {
    let calls = 0;
    return (context) =>
      withinMemory({ ...context, log: (line) => said.push(line) }, async (inner) => {
        const first = ++calls <= fails;
        budgets.push((inner.stage as { microBatchTokens: number }).microBatchTokens);
        const outcome = await (stageFunctions.sft as StageWork)({
          ...inner,
          stopRequested: () => first && harness.metrics(name).length >= 5,
        });
        if (first) tooMuch();
        return outcome;
      });
  };

  it('goes on from its checkpoint with half the micro-batch, once, and says so', async () => {
    const said: string[] = [];
    const budgets: number[] = [];
    const work = failing('once', 1, said, budgets);
    expect(await harness.run(recipe, 'once', undefined, undefined, work)).toBe('done');
    expect(budgets).toEqual([1024, 512]);
    expect(said.join()).toContain('microBatchTokens 512');
    expect(await harness.run(recipe, 'never')).toBe('done');
    const losses = (name: string) => harness.metrics(name).map((row) => Number(row['loss']));
    expect(losses('once')).toHaveLength(10);
    for (const [i, loss] of losses('never').entries()) expect(losses('once')[i]).toBeCloseTo(loss, 4);
  });

  it('fails with that error the second time', async () => {
    const budgets: number[] = [];
    const work = failing('twice', 2, [], budgets);
    await expect(harness.run(recipe, 'twice', undefined, undefined, work)).rejects.toThrow('found no memory');
    expect(budgets).toEqual([1024, 512]);
  });

  it('leaves other errors alone', async () => {
    let calls = 0;
    const work: StageWork = (context) =>
      withinMemory(context, () => {
        calls++;
        throw new Error('another');
      });
    await expect(harness.run(recipe, 'other', undefined, undefined, work)).rejects.toThrow('another');
    expect(calls).toBe(1);
  });
});

describe('models beside the policy', () => {
  const gpus = ['cuda:0', 'cuda:1', 'cuda:2', 'cpu'];
  const said: string[] = [];
  const placing = (wanted: 'auto' | 'cuda', device = 'cuda:0') => ({
    name: '02-ppo',
    recipe: { compute: { ...recipe.compute, device: wanted } },
    compute: { device },
    log: (line: string) => said.push(line),
  });
  const both = { teacher: undefined, reference: undefined };

  it.each([
    ['one each, where there are three', 'auto', gpus, both, ['cuda:1', 'cuda:2']],
    ['both on the second of two', 'auto', ['cuda:0', 'cuda:1', 'cpu'], both, ['cuda:1', 'cuda:1']],
    ['with the policy on one GPU', 'auto', ['cuda:0', 'cpu'], both, ['cuda:0', 'cuda:0']],
    ['with the policy where the device is named', 'cuda', gpus, both, ['cuda:0', 'cuda:0']],
    ['where the stage says', 'auto', gpus, { teacher: 'cpu', reference: undefined }, ['cpu', 'cuda:1']],
  ] as const)('sit %s', (_, wanted, found, roles, [teacher, reference]) => {
    expect(placeModels(placing(wanted), roles, found)).toEqual({ teacher, reference });
    expect(said.at(-1)).toBe(`02-ppo: policy on cuda:0, teacher on ${teacher}, reference on ${reference}`);
  });

  it('are not spoken of where there are none', () => {
    const before = said.length;
    expect(placeModels(placing('auto', 'cpu'), {}, ['cpu'])).toEqual({});
    expect(said.length).toBe(before);
  });
});
