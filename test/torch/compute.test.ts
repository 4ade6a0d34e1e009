import { afterAll, describe, expect, it } from 'vitest';
import { kernelLevel, kernelLevels, useKernels } from '../../src/torch/index.ts';
import { computeWith } from '../../src/train/compute.ts';

const before = kernelLevel();
afterAll(() => useKernels(before));

describe('a run that goes on', () => {
  it.each(kernelLevels())('computes with the kernels that it began with: %s', (kernels) => {
    computeWith({ threads: 1, kernels });
    expect(kernelLevel()).toBe(kernels);
  });

  it('keeps the kernels of this processor where it lacks those of the start', () => {
    useKernels(before);
    computeWith({ threads: 1, kernels: 'another-processor' });
    expect(kernelLevel()).toBe(before);
  });
});
