/** Owns the `evaluate` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { fromKey } from './budget.ts';
import { keysOf, label, type StageKind } from './kind.ts';

/** Measures the current model on held-out problems. */
export interface EvaluateStage {
  readonly type: 'evaluate';
  readonly label: string;
  readonly from?: string | undefined;
}

export const evaluateKind: StageKind<EvaluateStage> = {
  schema: keysOf<EvaluateStage>(
    z
      .strictObject({ type: z.literal('evaluate'), label: label(), from: fromKey() })
      .describe('measures the current model on held-out problems'),
  ),
  trains: false,
  samples: true,
  check: () => [],
  plan: (_stage, { evaluation: { split, samplesPerProblem, temperature } }) => ({
    summary: `${samplesPerProblem} samples for each ${split} problem at temperature ${temperature}`,
    numbers: { samplesPerProblem },
  }),
};
