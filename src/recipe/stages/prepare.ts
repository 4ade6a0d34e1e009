/** Owns the `prepare` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { keysOf, type StageKind } from './kind.ts';

/** Makes the problems, the tokenizer and the model that later stages start from. */
export interface PrepareStage {
  readonly type: 'prepare';
}

export const prepareKind: StageKind<PrepareStage> = {
  schema: keysOf<PrepareStage>(
    z
      .strictObject({ type: z.literal('prepare') })
      .describe('makes the problems, the tokenizer and the model that later stages start from'),
  ),
  trains: false,
  samples: false,
  check: () => [],
  plan: (_stage, recipe) => ({
    summary: `problems of ${recipe.task.name}, tokenizer and model`,
    numbers: {},
  }),
};
