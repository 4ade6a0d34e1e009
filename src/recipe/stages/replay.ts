/** Owns how a stage says what it learns from again and how off-policy tokens are weighted. Runs nothing. */

import * as z from 'zod';
import { count } from './kind.ts';

/** Groups of earlier steps, learned from again. */
export interface ReplayRecipe {
  readonly capacity: number;
  readonly groupsPerStep: number;
  readonly maxAge: number;
}

/** Weights of tokens whose sampler is not the policy before the updates. */
export interface ImportanceRecipe {
  readonly level: 'token' | 'sequence';
  readonly beyond: 'truncate' | 'mask';
  readonly max: number;
  readonly min: number | null;
  /** By default only where servers sample. */
  readonly always?: boolean | undefined;
}

/** The key `replay`; null, the default, is none. */
export function replayKey(): z.ZodType<ReplayRecipe | null> {
  return z
    .strictObject({
      capacity: count().default(64).describe('groups kept at most, first in first out'),
      groupsPerStep: count().default(4).describe('groups of earlier steps beside those of the step'),
      maxAge: count().default(8).describe('steps after its own in which a group may be learned from'),
    })
    .nullable()
    .default(null)
    .describe('scored groups of earlier steps are learned from again, importance-weighted; null for none');
}

/** The key `importance`. */
export function importanceKey(): z.ZodType<ImportanceRecipe> {
  return z
    .strictObject({
      level: z.enum(['token', 'sequence']).default('token').describe('ratio of a token, or of its sequence'),
      beyond: z
        .enum(['truncate', 'mask'])
        .default('truncate')
        .describe('a ratio outside the bounds is moved to the bound, or counts 0'),
      max: z.number().positive().default(2).describe('upper bound'),
      min: z.number().min(0).nullable().default(null).describe('lower bound; null for none'),
      always: z
        .boolean()
        .optional()
        .describe(
          'weigh every token by trainer over engine, also where they differ by rounding alone; by default with a remote engine',
        ),
    })
    .prefault({})
    .describe('truncated importance sampling where top-p, replay or servers make the sampler another policy');
}

/** The key `adaptiveEntropy`; null, the default, keeps `entropyCoefficient`. */
export function adaptiveEntropyKey(): z.ZodType<AdaptiveEntropyRecipe | null> {
  return z
    .strictObject({
      target: z.number().positive().describe('nats a token; below it the weight rises, above it falls'),
      delta: z.number().positive().default(1e-3).describe('by how much after each optimizer step'),
      min: z.number().min(0).default(0).describe('least weight'),
      max: z.number().positive().default(0.1).describe('largest weight'),
    })
    .nullable()
    .default(null)
    .describe('steers the weight of the entropy bonus, which begins at entropyCoefficient; null keeps it');
}

/** The weight of the entropy bonus follows the policy's entropy. */
export interface AdaptiveEntropyRecipe {
  readonly target: number;
  readonly delta: number;
  readonly min: number;
  readonly max: number;
}
