/** Owns whole stages on a GPU: all of them, in f32 as on the CPU, and what is done where it has no memory. Skipped where there is none. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stageFunctions } from '../../src/run/stage-functions.ts';
import { withinMemory } from '../../src/run/stage-memory.ts';
import { devices, zeros } from '../../src/torch/index.ts';
import { type EveryStage, runEveryStage } from '../torch/every-stage.ts';
import { Harness, recipeWith, type StageWork } from '../torch/stage-harness.ts';

const device = devices().find((name) => name.startsWith('cuda'));
if (device === undefined) process.stdout.write('test/gpu: skipped, this libtorch finds no CUDA device\n');

describe.skipIf(device === undefined)('on CUDA', { timeout: 300_000 }, () => {
  it('every stage takes its first step as on the CPU', async () => {
    const here = await runEveryStage('cpu', 'f32');
    const there = await runEveryStage('cuda', 'f32');
    expect([...there.metrics.keys()]).toEqual([...here.metrics.keys()]);
    // What is sampled later follows from weights that rounding has moved apart.
    const loss = (run: EveryStage) => Number(run.metrics.get('02-sft')![0]!['loss']);
    expect(loss(there)).toBeCloseTo(loss(here), 3);
    for (const [stage, rows] of here.metrics)
      expect(there.metrics.get(stage), stage).toHaveLength(rows.length);
  });

  it('every stage runs in bf16 where nothing is said, and the placement is printed', async () => {
    const { lines, metrics } = await runEveryStage('auto', 'auto');
    const said = lines.join('');
    expect(said).toContain(`computing on ${device} in bf16`);
    const other = devices().filter((name) => name.startsWith('cuda'))[1] ?? device;
    expect(said).toContain(`policy on ${device}, teacher on ${other}`);
    for (const [stage, rows] of metrics) {
      const values = rows.flatMap((row) => Object.values(row)).filter((value) => typeof value === 'number');
      expect(values.every(Number.isFinite), stage).toBe(true);
    }
  });

  describe('without memory', () => {
    const recipe = recipeWith(
      '- { type: sft, steps: 4, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 1.0e-3 }',
    );
    const harness = new Harness();
    beforeAll(() => harness.prepare(recipe));
    afterAll(() => harness[Symbol.dispose]());

    it('a stage goes on with half the micro-batch, once, and says so', async () => {
      const said: string[] = [];
      const budgets: number[] = [];
      const work: StageWork = (context) => {
        const placed = { ...context, compute: { ...context.compute, device: device! } };
        return withinMemory({ ...placed, log: (line) => said.push(line) }, async (inner) => {
          budgets.push((inner.stage as { microBatchTokens: number }).microBatchTokens);
          const first = budgets.length === 1;
          const stopRequested = () => first && harness.metrics('gpu').length >= 2;
          const outcome = await (stageFunctions.sft as StageWork)({ ...inner, stopRequested });
          if (first) zeros([2 ** 48], 'f32', device!);
          return outcome;
        });
      };
      expect(await harness.run(recipe, 'gpu', undefined, undefined, work)).toBe('done');
      expect(budgets).toEqual([1024, 512]);
      expect(said.join()).toMatch(/found no memory.*microBatchTokens 512/s);
      expect(harness.metrics('gpu')).toHaveLength(4);
    });
  });
});
