/** Owns the `sft` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { count, grouped, keysOf, label, type StageKind } from './kind.ts';
import { checkSchedule, describeRate, type OptimisationRecipe, optimisationKeys } from './optimisation.ts';

/** Supervised fine-tuning on solution traces. */
export interface SftStage extends OptimisationRecipe {
  readonly type: 'sft';
  readonly label?: string | undefined;
}

export const sftKind: StageKind<SftStage> = {
  schema: keysOf<SftStage>(
    z
      .strictObject({
        type: z.literal('sft'),
        label: label().optional(),
        steps: count().describe('optimizer steps'),
        optimizerBatch: count().default(64).describe('sequences in one optimizer step'),
        ...optimisationKeys({ learningRate: 1e-3, schedule: 'cosine' }),
      })
      .describe('supervised fine-tuning on solution traces'),
  ),
  trains: true,
  samples: false,
  check: checkSchedule,
  plan: (stage, recipe) => {
    const sequences = stage.steps * stage.optimizerBatch;
    const checkpoints = Math.ceil(stage.steps / recipe.checkpoints.every);
    const batches = `${grouped(stage.steps)} steps of ${stage.optimizerBatch} sequences = ${grouped(sequences)} sequences`;
    return {
      summary: `${batches}, ${describeRate(stage)}`,
      numbers: { steps: stage.steps, updates: stage.steps, sequences, checkpoints },
    };
  },
};
