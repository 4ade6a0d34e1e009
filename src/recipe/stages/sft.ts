/** Owns the `sft` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import {
  count,
  grouped,
  type IdleKey,
  keysOf,
  label,
  problem,
  type StageKind,
  type StageWords,
} from './kind.ts';
import { checkLength, passesOver } from './length.ts';
import { describeRate, idleSchedule, type OptimisationRecipe, optimisationKeys } from './optimisation.ts';

/** Supervised fine-tuning on the task's demonstrations or on a file; one of `steps` and `epochs` is given. */
export interface SftStage extends Omit<OptimisationRecipe, 'steps'> {
  readonly type: 'sft';
  readonly label?: string | undefined;
  readonly steps?: number | undefined;
  readonly epochs?: number | undefined;
  readonly dataFile?: string | undefined;
  readonly loss: 'nll' | 'dft';
  readonly learn: 'completion' | 'assistant' | 'all';
  readonly packing: boolean;
  readonly validateEvery: number;
  readonly validationFile?: string | undefined;
  readonly keepBest: boolean;
  readonly patience?: number | undefined;
}

export const sftKind: StageKind<SftStage> = {
  schema: keysOf<SftStage>(
    z
      .strictObject({
        type: z.literal('sft'),
        label: label().optional(),
        steps: count().optional().describe('optimizer steps; give steps or epochs'),
        epochs: count().optional().describe('passes over the data, in place of steps'),
        optimizerBatch: count().default(64).describe('sequences in one optimizer step'),
        dataFile: z
          .string()
          .min(1)
          .optional()
          .describe(
            "JSONL of text, messages, or prompt and completion; by default the task's demonstrations",
          ),
        loss: z
          .enum(['nll', 'dft'])
          .default('nll')
          .describe('cross-entropy, or that weighted by the probability of each token (DFT)'),
        learn: z
          .enum(['completion', 'assistant', 'all'])
          .default('completion')
          .describe('which tokens are learned; of conversations: all, or those of the assistant'),
        packing: z
          .boolean()
          .default(false)
          .describe('several sequences share a row, unseen by each other; no effect on results'),
        validateEvery: z
          .int()
          .min(0)
          .default(0)
          .describe('steps between measurements of the loss on validation sequences; 0 for none'),
        validationFile: z
          .string()
          .min(1)
          .optional()
          .describe("JSONL as dataFile; by default demonstrations of the task's validation problems"),
        keepBest: z
          .boolean()
          .default(false)
          .describe('the result is the model of the best validation, not the last'),
        patience: count()
          .optional()
          .describe('validations in a row without a better one after which the stage ends'),
        ...optimisationKeys({ learningRate: 1e-3, schedule: 'cosine' }),
      })
      .describe('supervised fine-tuning on demonstrations'),
  ),
  trains: true,
  samples: false,
  check,
  idle,
  plan,
};

function check(stage: SftStage, path: KeyPath): RecipeProblem[] {
  const { validateEvery, keepBest, patience } = stage;
  const found = checkLength(stage, 'epochs', path);
  if (validateEvery === 0 && (keepBest || patience !== undefined)) {
    const key = keepBest ? 'keepBest' : 'patience';
    found.push(problem([...path, 'validateEvery'], `must be at least 1 where ${key} is set, found 0`));
  }
  return found;
}

function idle(stage: SftStage): IdleKey[] {
  const { dataFile, learn, validationFile, validateEvery } = stage;
  const found = idleSchedule(stage);
  if (learn === 'assistant' && dataFile === undefined && validationFile === undefined)
    found.push({ keys: ['learn'], because: "the task's demonstrations are no conversations" });
  if (validateEvery === 0)
    found.push({ keys: ['validationFile'], because: 'nothing is measured with validateEvery 0' });
  return found;
}

function plan(stage: SftStage, recipe: Recipe): StageWords {
  const { steps, epochs, optimizerBatch, dataFile } = stage;
  const source = dataFile === undefined ? '' : ` of ${dataFile}`;
  if (steps === undefined) {
    const passes = passesOver(epochs ?? 0, `the data${source}`);
    const summary = `${passes} in batches of ${optimizerBatch}, ${describeRate(stage)}`;
    return { summary, numbers: { epochs: epochs ?? 0 } };
  }
  const sequences = steps * optimizerBatch;
  const checkpoints = Math.ceil(steps / recipe.checkpoints.every);
  const batches = `${grouped(steps)} steps of ${optimizerBatch} sequences${source} = ${grouped(sequences)} sequences`;
  return {
    summary: `${batches}, ${describeRate(stage)}`,
    numbers: { steps, updates: steps, sequences, checkpoints },
  };
}
