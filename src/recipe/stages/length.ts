/** Owns how long a stage is that may count passes over its data in place of steps. Knows no data. */

import type * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { count, problem } from './kind.ts';
import { checkSchedule } from './optimisation.ts';

/** One of the two is given. */
export interface LengthRecipe {
  readonly steps?: number | undefined;
  readonly dataEpochs?: number | undefined;
}

/** The keys `steps` and `dataEpochs`. */
export function lengthKeys(
  steps: string,
  passes: string,
): { readonly [K in keyof Required<LengthRecipe>]: z.ZodOptional<z.ZodInt> } {
  return {
    steps: count().optional().describe(`${steps}; give steps or dataEpochs`),
    dataEpochs: count()
      .optional()
      .describe(
        `passes over ${passes}, in place of steps (TRL: num_train_epochs); the last step may be smaller`,
      ),
  };
}

/** Steps and passes that are both there, or neither, and a warm-up that is longer than the steps. */
export function checkLength(
  stage: LengthRecipe & { readonly epochs?: number | undefined; readonly warmupSteps: number },
  passes: 'epochs' | 'dataEpochs',
  path: KeyPath,
): RecipeProblem[] {
  const { steps, warmupSteps } = stage;
  const found = steps === undefined ? [] : checkSchedule({ steps, warmupSteps }, path);
  if ((steps === undefined) === (stage[passes] === undefined)) {
    const holds = steps === undefined ? `neither steps nor ${passes}` : `both steps and ${passes}`;
    found.push(problem(path, `holds ${holds}; give one of the two`));
  }
  return found;
}

/** `2 passes over the data`. */
export function passesOver(passes: number, what: string): string {
  return `${passes} ${passes === 1 ? 'pass' : 'passes'} over ${what}`;
}
