/** Holds what `reckon recipe check` says of a run's steps, tokens and disk against what the run then takes. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { estimatedUse, estimateOf, measuredUse } from '../../bench/estimate.ts';
import { startReckon, temporaryFolder } from './tiny-run.ts';

describe('the estimate of a recipe', () => {
  // With branches, an adapter-free and a full pass over the data; with an adapter, a teacher of another size, token rewards.
  it.each(['cs336', 'intrinsic-distillation'])('is that of the run: %s', async (name) => {
    const path = `recipes/${name}/twin.yaml`;
    const found = await estimateOf(path);
    const said = estimatedUse(found);
    const runs = temporaryFolder();
    const { code } = await startReckon(['run', path, '--runs-dir', runs, '--quiet']).ended;
    expect(code).toBe(0);
    const took = measuredUse(join(runs, `${name}-twin`));
    expect(said.steps).toBe(took.steps);
    for (const key of ['sampled', 'trained', 'diskBytes'] as const) {
      const ratio = said[key] / took[key];
      expect([key, ratio > 1 / 1.5 && ratio < 1.5, ratio]).toEqual([key, true, ratio]);
    }
    // What is said to be most is most.
    const most = found.stages.reduce((sum, stage) => sum + stage.sampledMost, 0);
    expect(took.sampled).toBeLessThanOrEqual(most);
  });
});
