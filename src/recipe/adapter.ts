/** Owns the `adapter` key of trained stages: what is trained in place of all weights. Runs nothing. */

import * as z from 'zod';

/** A low-rank adapter to train; the base stays as it is. */
export interface AdapterRecipe {
  readonly type: 'lora' | 'rslora' | 'dora';
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: string | readonly string[];
  readonly modulesToSave: readonly string[];
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly init: 'default' | 'gaussian';
  readonly baseWeights?: 'full' | 'int8' | undefined;
}

const patternKey = (value: z.ZodType<number>) => z.record(z.string().min(1), value).default({});

/** The key's schema; absent, all weights are trained. */
export function adapterKey(): z.ZodType<AdapterRecipe | undefined> {
  return z
    .strictObject({
      type: z
        .enum(['lora', 'rslora', 'dora'])
        .default('lora')
        .describe('rslora scales with the root of the rank; dora learns the lengths of the rows apart'),
      rank: z.int().min(1).default(16).describe('width of the low-rank update'),
      alpha: z.number().positive().default(32).describe('the update is scaled with alpha / rank'),
      dropout: z
        .number()
        .min(0)
        .lt(1)
        .default(0)
        .describe("share of the update's inputs that is left out, in sft stages only"),
      targetModules: z
        .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
        .default('all-linear')
        .describe('all-linear, names that module paths end with, or a regular expression of whole paths'),
      modulesToSave: z
        .array(z.string().min(1))
        .default([])
        .describe('modules that are trained and stored whole, by the end of their path'),
      rankPattern: patternKey(z.int().min(1)).describe('other ranks by a pattern for the end of a path'),
      alphaPattern: patternKey(z.number().positive()).describe(
        'other alphas by a pattern for the end of a path',
      ),
      init: z
        .enum(['default', 'gaussian'])
        .default('default')
        .describe('first values of the inner matrix: uniform as in PEFT, or normal with 1 / rank'),
      baseWeights: z
        .enum(['full', 'int8'])
        .optional()
        .describe("int8 keeps the frozen base's matrices in 8 bit, which halves its memory"),
    })
    .optional()
    .describe('trains a low-rank adapter in place of all weights');
}
