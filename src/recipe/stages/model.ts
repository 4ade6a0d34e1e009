/** Owns the `model` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import { checkInit, modelInitSchema } from '../model-init.ts';
import type { KeyPath } from '../nearest.ts';
import type { ModelInit } from '../recipe.ts';
import { keysOf, label, problem, type StageKind } from './kind.ts';

/** A further model beside the recipe's, to become a teacher say: new with random weights, or from a folder. */
export interface ModelStage {
  readonly type: 'model';
  readonly label: string;
  readonly init?: ModelInit | undefined;
  readonly path?: string | undefined;
}

export const modelKind: StageKind<ModelStage> = {
  schema: keysOf<ModelStage>(
    z
      .strictObject({
        type: z.literal('model'),
        label: label(),
        init: modelInitSchema.optional(),
        path: z.string().min(1).optional().describe('a model folder in Hugging Face format'),
      })
      .describe("a further model with the recipe's tokenizer, for later stages to start from"),
  ),
  trains: false,
  samples: false,
  check,
  plan: ({ init, path }) => ({
    summary:
      init === undefined
        ? `the model of ${path}`
        : `new model of ${init.layers} layers, width ${init.hiddenSize}, ${init.heads} heads (${init.keyValueHeads} key-value)`,
    numbers: {},
  }),
};

function check({ init, path: folder }: ModelStage, path: KeyPath): RecipeProblem[] {
  if ((init === undefined) === (folder === undefined)) {
    const holds = init === undefined ? 'neither init nor path' : 'both init and path';
    return [problem(path, `holds ${holds}; give one of the two`)];
  }
  return init === undefined ? [] : checkInit(init, [...path, 'init']);
}
