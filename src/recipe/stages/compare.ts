/** Owns the `compare` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { type KeyPath, suggest } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import { keysOf, label, problem, type StageKind } from './kind.ts';

/** Compares evaluations of the run, problem by problem. */
export interface CompareStage {
  readonly type: 'compare';
  readonly label: string;
  readonly evaluations?: readonly string[] | undefined;
}

export const compareKind: StageKind<CompareStage> = {
  schema: keysOf<CompareStage>(
    z
      .strictObject({
        type: z.literal('compare'),
        label: label().default('all'),
        evaluations: z
          .array(z.string().min(1))
          .min(2)
          .optional()
          .describe('labels of the evaluations that are compared in pairs; by default all before this stage'),
      })
      .describe(
        'compares evaluations on the same problems: paired intervals, exact tests, problems won and lost',
      ),
  ),
  trains: false,
  samples: false,
  summarises: true,
  check(stage, path, recipe) {
    const index = Number(path[1]);
    const known = evaluationLabels(recipe, index);
    if (stage.evaluations === undefined) {
      if (known.length >= 2) return [];
      return [problem(path, `needs two evaluate stages before it, found ${known.length}`)];
    }
    return stage.evaluations.flatMap((name, i) => {
      if (known.includes(name)) return [];
      const at: KeyPath = [...path, 'evaluations', i];
      return [
        problem(
          at,
          `is ${name}, which no evaluate stage before it has as its label; ${suggest(name, known)}`,
        ),
      ];
    });
  },
  plan: (stage) => ({
    summary: `${stage.evaluations?.join(', ') ?? 'all evaluations so far'}, compared in pairs on the same problems`,
    numbers: {},
  }),
};

/** Labels of the evaluate stages before a place in the list. */
export function evaluationLabels({ stages }: Recipe, index: number): string[] {
  return stages.slice(0, index).flatMap((stage) => (stage.type === 'evaluate' ? [stage.label] : []));
}
