/** Owns how a stage names its reference policy, and when that follows the policy. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { count, type IdleKey, problem, share } from './kind.ts';

/** What `referenceSync` holds. */
export interface ReferenceSyncRecipe {
  readonly every: number;
  readonly mixup: number;
}

/** Keys beside `reference` of a stage that compares with one. */
export interface ReferenceRecipe {
  readonly referenceSync: ReferenceSyncRecipe | null;
  readonly referenceDevice?: string | undefined;
}

/** What stages call a model that no other stage made. */
export const ownModels: readonly string[] = ['none', 'start', 'previous', 'trunk'];

/** `none`, `start`, or a model. */
export function referenceKey(): z.ZodString {
  return z
    .string()
    .min(1)
    .describe('`none`, `start` (the model that the stage begins with), a model folder or an earlier stage');
}

/** The keys `referenceSync` and `referenceDevice`. */
export function referenceKeys(): {
  readonly [K in keyof Required<ReferenceRecipe>]: z.ZodType<ReferenceRecipe[K]>;
} {
  return {
    referenceSync: z
      .strictObject({
        every: count().describe('steps between'),
        mixup: share()
          .default(1)
          .describe('share of the policy in the new reference; 1 is a copy (TRL: ref_model_mixup_alpha)'),
      })
      .nullable()
      .default(null)
      .describe('the reference follows the policy; null leaves it as it is'),
    referenceDevice: z
      .string()
      .min(1)
      .optional()
      .describe(
        'where the reference computes; by default with the policy, or with device auto on a GPU of its own where there are several',
      ),
  };
}

/** A reference that cannot follow the policy, or cannot sit where it is told to. */
export function checkReference(
  stage: ReferenceRecipe & { readonly reference: string; readonly adapter?: unknown },
  path: KeyPath,
): RecipeProblem[] {
  const found: RecipeProblem[] = [];
  const { reference, referenceSync, referenceDevice, adapter } = stage;
  if (referenceSync && reference === 'none')
    found.push(problem([...path, 'reference'], 'must be start where referenceSync is set, found none'));
  if (referenceDevice !== undefined && adapter !== undefined && reference === 'start' && !referenceSync) {
    const reason = "because with an adapter the reference start shares the policy's base";
    found.push(problem([...path, 'referenceDevice'], `must be left out, ${reason}`));
  }
  return found;
}

/** Keys of a reference that there is none of. */
export function idleReference({ reference }: { readonly reference: string }): IdleKey[] {
  return reference === 'none' ? [{ keys: ['referenceDevice'], because: 'reference is none' }] : [];
}
