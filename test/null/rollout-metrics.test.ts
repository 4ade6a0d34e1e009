import { expect, it } from 'vitest';
import { updateMetrics } from '../../src/train/rollout-metrics.ts';

it('a step without an update has no entropy, no ratio and no share of clipped tokens, rather than 0', () => {
  const { 'batch/tokens': tokens, ...means } = updateMetrics([]);
  expect(tokens).toBe(0);
  for (const name of ['loss', 'policy/entropy', 'policy/ratio_mean', 'policy/clip_fraction'] as const)
    expect(means[name]).toBeNull();
});
