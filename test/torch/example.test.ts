/** Owns the proof that the example of a custom loop runs on the public API and learns. */

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { customGrpo } from '../../examples/custom-grpo.ts';
import type { Sample } from '../../src/rewards/index.ts';
import { mean } from '../../src/util/statistics.ts';
import { Harness, recipeWith } from './stage-harness.ts';

const harness = new Harness();

beforeAll(async () => harness.prepare(recipeWith('- { type: evaluate, label: after }')));
afterAll(() => harness[Symbol.dispose]());

describe('examples/custom-grpo.ts', () => {
  it('raises the reward of a small model', { timeout: 60_000 }, async () => {
    vi.spyOn(console, 'log').mockImplementation(() => {});
    const evenDigits = ({ rollout: { text } }: Sample) =>
      text.replace(/[^2468]/g, '').length / Math.max(1, text.length);
    const means = await customGrpo(harness.start, 24, evenDigits);
    expect(means.length).toBe(24);
    expect(mean(means.slice(-6))).toBeGreaterThan(mean(means.slice(0, 6)) + 0.05);
  });
});
