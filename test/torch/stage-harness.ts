/** Owns running one trained stage in this process, from a small model, with a stop after a given step. */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect } from 'vitest';
import { parseRecipe, type Recipe, type StageType } from '../../src/recipe/index.ts';
import { stageFunctions } from '../../src/run/stage-functions.ts';
import type { RunStageContext } from '../../src/run/stages.ts';
import { kernelLevel } from '../../src/torch/index.ts';
import type { StageOutcome } from '../../src/train/context.ts';
import { roomyFolder } from './room.ts';

/** A recipe whose last stage is the one under test, as YAML: `- { type: ..., ... }`. */
export function recipeWith(stage: string, dtype: 'f32' | 'bf16' = 'f32'): Recipe {
  return parseRecipe(
    `version: 1
name: harness
seed: 3
task: { name: game24 }
model: { init: { hiddenSize: 32, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 } }
compute: { dtype: ${dtype}, threads: 1 }
sampling: { maxCompletionTokens: 48 }
evaluation: { samplesPerProblem: 2 }
checkpoints: { every: 2, keepLast: 2 }
stages:
  - type: prepare
  - { type: sft, steps: 40, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 3.0e-3 }
  ${stage}
`,
    'recipe.yaml',
  );
}

/** What a stage does; a test may do something else than the recipe's wiring. */
export type StageWork = (context: RunStageContext<StageType>) => Promise<StageOutcome>;

/** A temporary run with a small fine-tuned model, on which the last stage can be run again and again. */
export class Harness implements Disposable {
  readonly folder: string = roomyFolder('reckon-stage-');
  private model = '';

  /** The folder of the model that stages start from. */
  get start(): string {
    return this.model;
  }

  /** Prepares and fine-tunes the model that all stages start from. */
  async prepare(recipe: Recipe): Promise<void> {
    for (const index of [0, 1]) {
      let output = '';
      await this.call(recipe, index, `base-${index}`, { setOutput: (path) => (output = path) });
      this.model = output;
    }
  }

  /** Runs the recipe's last stage in the folder `name`; stops once `stopAfter` steps are done. */
  async run(
    recipe: Recipe,
    name: string,
    stopAfter: number = Number.POSITIVE_INFINITY,
    parent: string = this.model,
    work?: StageWork,
  ): Promise<StageOutcome> {
    const directory = join(this.folder, name);
    const stopRequested = () => this.metrics(name).length >= stopAfter;
    const more = { directory, stopRequested, parent };
    return await this.call(recipe, recipe.stages.length - 1, name, more, work);
  }

  /** The lines of a stage's metrics without times, speeds and memory. */
  metrics(name: string): Record<string, unknown>[] {
    const path = join(this.folder, name, 'metrics.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').trim().split('\n').filter(Boolean);
    return lines.map((line) =>
      Object.fromEntries(
        Object.entries(JSON.parse(line) as object).filter(([key]) => !/^(time|perf|memory)\//.test(key)),
      ),
    );
  }

  /** What must be equal between two equal trainings: metrics, rollouts, and every file of the newest checkpoint. */
  essence(name: string): Record<string, unknown> {
    const root = join(this.folder, name);
    const newest = readdirSync(join(root, 'checkpoints')).sort().at(-1)!;
    const files = [...filesOf(join(root, 'checkpoints', newest)), ...filesOf(join(root, 'rollouts'))];
    const hashes = files.map((path) => [
      relative(root, path),
      createHash('sha256').update(readFileSync(path)).digest('hex'),
    ]);
    return { ...Object.fromEntries(hashes), metrics: this.metrics(name) };
  }

  private async call(
    recipe: Recipe,
    index: number,
    name: string,
    more: Partial<RunStageContext<StageType>>,
    own?: StageWork,
  ): Promise<StageOutcome> {
    const directory = join(this.folder, name);
    mkdirSync(directory, { recursive: true });
    const stage = recipe.stages[index]!;
    const work = own ?? (stageFunctions[stage.type] as StageWork);
    return await work({
      index,
      name,
      directory,
      runDirectory: this.folder,
      recipe,
      stage,
      seed: recipe.seed,
      compute: { device: 'cpu', dtype: recipe.compute.dtype as 'f32', threads: 1, kernels: kernelLevel() },
      parent: this.model || null,
      quiet: true,
      log: () => {},
      stream: { isTTY: false, write: () => true },
      stopRequested: () => false,
      setOutput: () => {},
      elapsedSeconds: () => 0,
      modelFolder: (name) => name,
      ...more,
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Ten steps of the recipe's last stage are, bit for bit, five steps, an end, and the rest from the newest checkpoint. After a
 * kill that is one of an earlier step than files know of. Returns the metrics.
 */
export async function expectExactResume(
  harness: Harness,
  name: string,
  recipe: Recipe,
  end: 'a stop' | 'a kill',
  work?: StageWork,
): Promise<Record<string, unknown>[]> {
  const [whole, halves] = [`${name} whole`, `${name} halves`];
  const run = (folder: string, stopAfter?: number) => harness.run(recipe, folder, stopAfter, undefined, work);
  expect(await run(whole)).toBe('done');
  expect(await run(halves, 5)).toBe('stopped');
  expect(harness.metrics(halves).length).toBe(5);
  if (end === 'a kill')
    rmSync(join(harness.folder, halves, 'checkpoints', 'step-000005'), { recursive: true });
  expect(await run(halves)).toBe('done');
  expect(harness.essence(halves)).toEqual(harness.essence(whole));
  const moved = harness.metrics(whole).filter((row) => Number(row['grad_norm']) > 0);
  expect(moved.length).toBeGreaterThan(0);
  return harness.metrics(whole);
}

function filesOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())
    .sort();
}
