/** Owns the keys that place a stage among others: what it starts from, and how many tokens it may sample. Runs nothing. */

import * as z from 'zod';
import { count } from './kind.ts';

/** A bound in sampled tokens, in place of steps of different size; with it methods are compared fairly. */
export interface BudgetRecipe {
  readonly generatedTokens: number;
  readonly measureEvery?: number | undefined;
}

/** The key `budget`. */
export function budgetKey(): z.ZodType<BudgetRecipe | undefined> {
  return z
    .strictObject({
      generatedTokens: count().describe(
        'the stage ends once so many tokens were sampled, discarded ones included, or after `steps`; the learning rate decays with the share that is used up',
      ),
      measureEvery: count()
        .optional()
        .describe(
          'sampled tokens between measurements on the held-out problems of `evaluation`; none unless given',
        ),
    })
    .optional()
    .describe('ends the stage by the tokens it samples; `steps` is then the most steps');
}

/** The key `from`. */
export function fromKey(): z.ZodType<string | undefined> {
  return z
    .string()
    .min(1)
    .optional()
    .describe(
      'label (or type, without a label) of the earlier stage whose model this one starts from; by default the nearest',
    );
}
