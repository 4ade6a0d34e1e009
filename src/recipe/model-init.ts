/** Owns the keys of a new model's architecture and what cannot work among them. Makes no model. */

import * as z from 'zod';
import type { RecipeProblem } from './issues.ts';
import type { KeyPath } from './nearest.ts';
import type { ModelInit } from './recipe.ts';
import { count, problem } from './stages/kind.ts';

/** The key `init`. */
export const modelInitSchema: z.ZodType<ModelInit> = z
  .strictObject({
    hiddenSize: count().default(192).describe('width of the residual stream'),
    layers: count().default(6).describe('decoder blocks'),
    heads: count().default(6).describe('query heads; hiddenSize / heads is the size of a head'),
    keyValueHeads: count().default(6).describe('key and value heads, a divisor of heads'),
    intermediateSize: count().default(512).describe('width of the gated feed-forward layer'),
    tieEmbeddings: z.boolean().default(true).describe('the output head is the embedding matrix'),
    maxPositions: count().default(512).describe('longest sequence, prompt and completion together'),
    ropeTheta: z.number().positive().default(10000).describe('base of the rotary frequencies'),
    rmsEps: z.number().positive().default(1e-6).describe('epsilon inside RMSNorm'),
    initializerRange: z
      .number()
      .positive()
      .default(0.02)
      .describe('standard deviation of the random embeddings; matrices follow from their shapes'),
  })
  .describe('a new model with random weights');

/** Heads that do not divide the width, or each other. */
export function checkInit(init: ModelInit, path: KeyPath): RecipeProblem[] {
  const { hiddenSize, heads, keyValueHeads } = init;
  const found: RecipeProblem[] = [];
  if (hiddenSize % heads !== 0) {
    found.push(
      problem([...path, 'hiddenSize'], `must be a multiple of heads = ${heads}, found ${hiddenSize}`),
    );
  } else if ((hiddenSize / heads) % 2 !== 0) {
    const size = hiddenSize / heads;
    found.push(
      problem(
        [...path, 'hiddenSize'],
        `over heads must be even for rotary positions, found ${hiddenSize} / ${heads} = ${size}`,
      ),
    );
  }
  if (heads % keyValueHeads !== 0) {
    found.push(problem([...path, 'keyValueHeads'], `must divide heads = ${heads}, found ${keyValueHeads}`));
  }
  return found;
}
