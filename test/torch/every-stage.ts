/** Owns a run of every kind of stage, small enough for seconds, on whichever device is asked for. */

import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseRecipe } from '../../src/recipe/index.ts';
import { executeRun } from '../../src/run/index.ts';
import { roomyFolder } from './room.ts';

const short = 'microBatchTokens: 512, learningRate: 1.0e-3';
const small = `steps: 1, ${short}, optimizerBatch: 8`;
const sampled = 'promptsPerStep: 4, groupSize: 4';
const rewards = 'rewards: [{ name: process, weight: 1 }]';
const frozen = 'reference: start, kl: { beta: 0.05 }';

/** Every trainer; those that know frozen models with one, teachers that score and that are imitated, adapters of each kind. */
const stages = `
  - type: prepare
  - { type: sft, ${small} }
  - { type: expert-iteration, ${small}, ${sampled} }
  - { type: grpo, steps: 2, ${short}, optimizerBatch: 8, ${sampled}, epochs: 2, ${frozen}, referenceSync: { every: 1, mixup: 0.5 }, ${rewards} }
  - { type: ppo, ${small}, ${sampled}, epochs: 1, ${rewards}, intrinsic: { teacher: sft, cache: { maxBytes: 100000 } } }
  - { type: distill, steps: 1, ${short}, ${sampled}, teacher: sft }
  - { type: sft, ${small}, adapter: { rank: 4, alpha: 8, dropout: 0.1, type: dora } }
  - { type: dpo, ${small}, promptsPerStep: 4, groupSize: 4, compare: first-error }
  - { type: grpo, ${small}, ${sampled}, epochs: 1, ${frozen}, ${rewards}, adapter: { rank: 4, alpha: 8, baseWeights: int8 } }
  - { type: evaluate, label: end }
  - type: report`;

const recipe = (device: string, dtype: string, more: string) => `version: 1
name: every
seed: 3
task: { name: game24 }
model: { init: { hiddenSize: 32, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 } }
compute: { device: ${device}, dtype: ${dtype}, threads: 1 }
sampling: { maxCompletionTokens: 12 }
evaluation: { samplesPerProblem: 1 }
checkpoints: { every: 1, keepLast: 1 }
stages:${more}
`;

/** The metrics of every step by stage, and every line that was printed. */
export interface EveryStage {
  readonly metrics: ReadonlyMap<string, readonly Record<string, unknown>[]>;
  readonly lines: readonly string[];
}

/** Runs all of it, or other stages. */
export async function runEveryStage(
  device: 'auto' | 'cpu' | 'cuda',
  dtype: 'auto' | 'f32' | 'bf16',
  more: string = stages,
): Promise<EveryStage> {
  const runs = roomyFolder('reckon-every-');
  const lines: string[] = [];
  try {
    await executeRun(parseRecipe(recipe(device, dtype, more), 'recipe.yaml'), {
      runsDirectory: runs,
      quiet: false,
      stream: { isTTY: false, write: (line: string) => lines.push(line) },
      load: () => import('../../src/run/stage-functions.ts'),
    });
    const folders = readdirSync(join(runs, 'every')).filter((name) => /^\d\d-/.test(name));
    const read = (name: string) => {
      const path = join(runs, 'every', name, 'metrics.jsonl');
      return [name, readFileSync(path, { encoding: 'utf8', flag: 'a+' })] as const;
    };
    const rows = folders.map(read).filter(([, text]) => text !== '');
    return {
      lines,
      metrics: new Map(
        rows.map(([name, text]) => [
          name,
          text
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line)),
        ]),
      ),
    };
  } finally {
    rmSync(runs, { recursive: true, force: true });
  }
}
