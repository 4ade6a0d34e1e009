/** Owns the `tracking` key: where metrics go beside metrics.jsonl. Tracks nothing. */

import * as z from 'zod';

/** Trackers of a run; a change of them touches no result. */
export interface TrackingRecipe {
  readonly tensorboard: boolean;
  readonly wandb?: WandbRecipe | undefined;
}

/** A run on Weights & Biases. */
export interface WandbRecipe {
  readonly project: string;
  readonly entity?: string | undefined;
  readonly mode: 'online' | 'offline';
}

/** The key's schema. */
export const trackingSchema: z.ZodType<TrackingRecipe> = z
  .strictObject({
    tensorboard: z.boolean().default(false).describe('event files in <run>/tensorboard'),
    wandb: z
      .strictObject({
        project: z.string().min(1).describe('project that the run belongs to'),
        entity: z.string().min(1).optional().describe('account or team; by default that of the login'),
        mode: z.enum(['online', 'offline']).default('online').describe('offline keeps files in <run>/wandb'),
      })
      .optional()
      .describe('Weights & Biases, by the wandb package of your own Python'),
  })
  .describe('where metrics go beside metrics.jsonl');
