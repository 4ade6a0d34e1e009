/** Owns the tests of a recipe that branches: several stages from one start, a teacher of its own, budgets of sampled tokens. */

import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runSeeds } from '../../src/cli/run-seeds.ts';
import { parseRecipe, type Recipe } from '../../src/recipe/index.ts';
import { methodResults, seedRuns, writeSeedsReport } from '../../src/report/index.ts';
import { executeRun, readStageRecord } from '../../src/run/index.ts';
import { resolveCompute, stageFunctions } from '../../src/run/stage-functions.ts';
import { roomyFolder } from './room.ts';

const RECIPE = `version: 1
name: branches
task: { name: game24 }
model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 192 } }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 24 }
evaluation: { samplesPerProblem: 1 }
stages:
  - type: prepare
  - { type: sft, label: start, steps: 20, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 3.0e-3 }
  - { type: evaluate, label: start }
  - { type: model, label: wide, init: { hiddenSize: 48, layers: 1, heads: 2, keyValueHeads: 1, maxPositions: 192 } }
  - { type: sft, label: teacher, from: wide, steps: 20, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 3.0e-3 }
  - { type: grpo, from: start, steps: 50, promptsPerStep: 2, groupSize: 4, rewards: [{ name: process, weight: 1 }],
      learningRate: 1.0e-3, schedule: linear, budget: { generatedTokens: 900, measureEvery: 300 } }
  - { type: evaluate, label: grpo }
  - { type: distill, from: start, teacher: teacher, steps: 50, promptsPerStep: 2, groupSize: 4,
      objective: log-ratio, schedule: linear, budget: { generatedTokens: 900, measureEvery: 300 } }
  - { type: evaluate, label: distill }
  - type: report
`;

const folder = roomyFolder('reckon-branches-');
const runs = join(folder, 'branches');
const seed7 = join(runs, 'seed-7');
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const open = async (seed: number, name: string): Promise<Recipe> =>
  parseRecipe(RECIPE, 'recipe.yaml', { seed, name });

const start = (recipe: Recipe, runsDirectory: string) =>
  executeRun(recipe, {
    runsDirectory,
    quiet: true,
    stream: { isTTY: false, write: () => true },
    load: async () => ({ stageFunctions, resolveCompute }),
  });

interface Step {
  readonly learning_rate: number;
  readonly 'rollouts/generated_tokens': number;
  readonly 'evaluation/pass_at_1'?: number;
}

function stepsOf(stage: string): Step[] {
  const text = readFileSync(join(seed7, stage, 'metrics.jsonl'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Step);
}

describe('a recipe that branches', () => {
  beforeAll(async () => {
    const result = await runSeeds(runs, [7, 8], open, start);
    expect(result.status).toBe('done');
  }, 180_000);

  it('starts stages from the stage that they name', () => {
    const start = readStageRecord(join(seed7, '02-sft-start'))?.output;
    for (const stage of ['06-grpo', '08-distill'])
      expect(readStageRecord(join(seed7, stage))?.parent).toBe(start);
    const wide = readStageRecord(join(seed7, '04-model-wide'))?.output;
    expect(readStageRecord(join(seed7, '05-sft-teacher'))?.parent).toBe(wide);
    const after = readStageRecord(join(seed7, '06-grpo'))?.output;
    expect(readStageRecord(join(seed7, '07-evaluate-grpo'))?.parent).toBe(after);
  });

  it('ends a stage with the step that uses up its budget, the rate with it, and measures on the way', () => {
    for (const stage of ['06-grpo', '08-distill']) {
      const steps = stepsOf(stage);
      const tokens = steps.map((step) => step['rollouts/generated_tokens']);
      expect(tokens.at(-1)).toBeGreaterThanOrEqual(900);
      expect(tokens.at(-2)).toBeLessThan(900);
      expect(steps.at(-1)?.learning_rate).toBe(0);
      steps.slice(0, -1).forEach((step, i) => {
        const peak = stage === '06-grpo' ? 1e-3 : 1e-4;
        expect(step.learning_rate).toBeCloseTo(peak * (1 - tokens[i]! / 900), 12);
        const crossed = Math.floor(tokens[i]! / 300) > Math.floor((tokens[i - 1] ?? 0) / 300);
        expect(step['evaluation/pass_at_1'] !== undefined).toBe(crossed);
      });
    }
  });

  it('compares the methods with their start, seeds pooled', () => {
    const methods = methodResults(seedRuns(runs));
    expect(methods.map(({ name }) => name)).toEqual(['grpo', 'distill']);
    for (const { runs: pooled, gain, start, end, tokens } of methods) {
      expect(pooled.map(({ seed }) => seed)).toEqual([7, 8]);
      expect(gain.difference).toBeCloseTo(end - start, 12);
      expect(tokens).toBeGreaterThanOrEqual(900);
      for (const { points } of pooled) {
        expect(points[0]).toEqual({ tokens: 0, seconds: 0, cpuSeconds: 0, passAt1: expect.any(Number) });
        expect(points.at(-1)!.cpuSeconds).toBeGreaterThan(0);
        expect(points.length).toBeGreaterThanOrEqual(3);
      }
    }
    const { markdown, chartPaths } = writeSeedsReport(runs);
    expect(markdown).toContain('| grpo |');
    expect(chartPaths.map((path) => readFileSync(path, 'utf8').slice(0, 4))).toEqual(['<svg', '<svg']);
  });

  it('passes over what is done, and a changed branch leaves the others as they are', async () => {
    const before = readFileSync(join(seed7, '08-distill', 'stage.json'), 'utf8');
    expect((await runSeeds(runs, [7], open, start)).status).toBe('done');
    const other = async (seed: number, name: string) =>
      parseRecipe(RECIPE, 'recipe.yaml', { seed, name, set: ['grpo.learningRate=2e-3'] });
    await expect(runSeeds(runs, [7], other, start)).rejects.toThrow(/06-grpo/);
    expect(readFileSync(join(seed7, '08-distill', 'stage.json'), 'utf8')).toBe(before);
  }, 180_000);
});
