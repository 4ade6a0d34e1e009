/** Owns what a run does where a device has no memory for a stage: half the micro-batch, once, and says so. Frees no tensor. */

import type { StageType } from '../recipe/index.ts';
import { devices, freeCachedMemory, lacksMemory } from '../torch/index.ts';
import type { StageOutcome } from '../train/context.ts';
import { messageOf } from '../util/errors.ts';
import type { RunStageContext } from './stages.ts';

/**
 * Calls a stage's function; where an allocator has no more memory, empties the devices' caches and calls it once more
 * with half its `microBatchTokens`. Training goes on from the newest checkpoint, to the same result but for rounding.
 */
export async function withinMemory<T extends StageType>(
  context: RunStageContext<T>,
  work: (context: RunStageContext<T>) => Promise<StageOutcome>,
): Promise<StageOutcome> {
  try {
    return await work(context);
  } catch (error) {
    const { stage } = context;
    if (!lacksMemory(error) || !('microBatchTokens' in stage) || stage.microBatchTokens < 2) throw error;
    const half = Math.floor(stage.microBatchTokens / 2);
    for (const device of devices()) freeCachedMemory(device);
    context.log(
      `${context.name}: ${messageOf(error)}. Once more with microBatchTokens ${half}, half of before; set that to begin with it`,
    );
    return work({ ...context, stage: { ...stage, microBatchTokens: half } });
  }
}
