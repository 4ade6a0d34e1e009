/** Owns the `expert-iteration` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import type { Recipe } from '../recipe.ts';
import { type BudgetRecipe, budgetKey } from './budget.ts';
import { count, grouped, type IdleKey, keysOf, label, type StageKind, type StageWords } from './kind.ts';
import {
  checkSchedule,
  describeRate,
  idleSchedule,
  type OptimisationRecipe,
  optimisationKeys,
} from './optimisation.ts';

/** Fine-tuning on the policy's own correct completions; `steps` counts rollout batches. */
export interface ExpertIterationStage extends OptimisationRecipe {
  readonly type: 'expert-iteration';
  readonly label?: string | undefined;
  readonly budget?: BudgetRecipe | undefined;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly keepPerProblem: number;
  readonly shortestFirst: boolean;
  readonly trainFrom: 'current' | 'base';
  readonly epochs: number;
}

/** As the recipe has it, before `keepPerProblem` is derived. */
type Keys = Omit<ExpertIterationStage, 'keepPerProblem'> & { readonly keepPerProblem?: number | undefined };

export const expertIterationKind: StageKind<ExpertIterationStage> = {
  schema: keysOf<Keys>(
    z
      .strictObject({
        type: z.literal('expert-iteration'),
        label: label().optional(),
        steps: count().describe('times that completions are sampled, judged and learned from'),
        promptsPerStep: count().default(512).describe('problems sampled for each step'),
        groupSize: count().default(8).describe('completions for each problem'),
        keepPerProblem: count()
          .optional()
          .describe('most correct completions kept of a problem; by default all of groupSize'),
        shortestFirst: z
          .boolean()
          .default(false)
          .describe('keep the shortest correct completions, not the first'),
        trainFrom: z
          .enum(['current', 'base'])
          .default('current')
          .describe('what is fine-tuned: the policy as it is, or anew the model that the stage began with'),
        epochs: count().default(1).describe('passes over the kept completions of a step'),
        optimizerBatch: count().default(64).describe('sequences in one optimizer step'),
        budget: budgetKey(),
        ...optimisationKeys({ learningRate: 1e-4, schedule: 'constant' }),
      })
      .describe('expert iteration: fine-tuning on own correct completions'),
  ),
  trains: true,
  samples: true,
  derive: (stage) => ({ ...stage, keepPerProblem: stage.keepPerProblem ?? stage.groupSize }),
  check: checkSchedule,
  idle,
  plan,
};

function idle(stage: ExpertIterationStage): IdleKey[] {
  const { keepPerProblem, groupSize } = stage;
  const found = idleSchedule(stage);
  if (keepPerProblem >= groupSize)
    found.push({
      keys: ['shortestFirst'],
      because: `all correct completions are kept: keepPerProblem is ${keepPerProblem} and groupSize ${groupSize}`,
    });
  return found;
}

function plan(stage: ExpertIterationStage, recipe: Recipe): StageWords {
  const { steps, promptsPerStep, groupSize, epochs, optimizerBatch } = stage;
  const rollouts = steps * promptsPerStep * groupSize;
  const checkpoints = Math.ceil(steps / recipe.checkpoints.every);
  const batches = `${grouped(steps)} steps of ${promptsPerStep} problems x ${groupSize} completions = ${grouped(rollouts)} rollouts`;
  const passes = `${epochs} ${epochs === 1 ? 'pass' : 'passes'} over what is correct in batches of ${optimizerBatch}`;
  return {
    summary: `${batches}, ${passes}, ${describeRate(stage)}`,
    numbers: { steps, sequencesPerStep: promptsPerStep * groupSize, rollouts, checkpoints },
  };
}
