/** Owns what a stage's budget of sampled tokens comes to in a run: its end, and how held-out problems are measured. */

import { measure } from '../../evaluate/index.ts';
import type { BudgetRecipe, Recipe } from '../../recipe/index.ts';
import type { SessionOptions } from '../../train/session.ts';
import { mean } from '../../util/statistics.ts';
import { taskOf } from './task.ts';

interface Budgeted {
  readonly recipe: Recipe;
  readonly stage: { readonly budget?: BudgetRecipe | undefined };
  readonly seed: number;
}

/** The budget as trainers take it; measurements sample as `evaluate` stages do, with the same seeds. */
export function budgetOf({ recipe, stage, seed }: Budgeted): Pick<SessionOptions, 'budget' | 'measure'> {
  const { split, samplesPerProblem, temperature } = recipe.evaluation;
  const task = taskOf(recipe);
  return {
    budget: stage.budget ?? null,
    measure: async (policy, tokenizer) => {
      const started = performance.now();
      const groups = await measure(policy, tokenizer, task, task.splits[split], {
        samplesPerProblem,
        temperature,
        topP: 1,
        maxCompletionTokens: recipe.sampling.maxCompletionTokens,
        seed,
      });
      const judged = groups.flatMap(({ scored }) => scored);
      return {
        'evaluation/pass_at_1': mean(judged.map((one) => Number(one.judgement.verdict === 'correct'))),
        'time/evaluation_s': (performance.now() - started) / 1000,
      };
    },
  };
}
