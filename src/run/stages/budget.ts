/** Owns what a stage samples with and for how long in a run: servers, its budget of tokens, how held-out problems are measured. */

import { evaluationPrompt, measure } from '../../evaluate/index.ts';
import { encodePrompt } from '../../prompts/index.ts';
import type { BudgetRecipe, Recipe } from '../../recipe/index.ts';
import type { SessionOptions } from '../../train/session.ts';
import { mean } from '../../util/statistics.ts';
import { remoteOf } from './engine.ts';
import { problemsOf, taskOf } from './task.ts';

interface Budgeted {
  readonly recipe: Recipe;
  readonly stage: { readonly budget?: BudgetRecipe | undefined };
  readonly seed: number;
}

/** The budget and the engine as trainers take them; measurements sample as `evaluate` stages do, with the same seeds. */
export function budgetOf({
  recipe,
  stage,
  seed,
}: Budgeted): Pick<SessionOptions, 'budget' | 'measure' | 'remote'> {
  const { split, samplesPerProblem, temperature } = recipe.evaluation;
  const task = taskOf(recipe);
  if (stage.budget?.measureEvery !== undefined) problemsOf(task, split);
  return {
    budget: stage.budget ?? null,
    remote: remoteOf(recipe),
    measure: async (open, tokenizer) => {
      const started = performance.now();
      const problems = problemsOf(task, split);
      const prompt = () => encodePrompt(tokenizer, evaluationPrompt(task, problems[0]!, seed));
      using engine = await open(prompt, { temperature, topP: 1 });
      const groups = await measure(engine, tokenizer, task, problems, {
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
