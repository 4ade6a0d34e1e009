import { afterAll, describe, expect, it } from 'vitest';
import { resolveCompute } from '../../src/run/compute.ts';
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

describe('a recipe that leaves the device to the machine', () => {
  const compute = { device: 'auto', dtype: 'auto', threads: 2 } as const;

  it.each([
    ['the first of several GPUs, in bf16', ['cuda:0', 'cuda:1', 'cpu'], 'cuda:0', /^bf16$/],
    ["the CPU beside Apple's GPU", ['mps', 'cpu'], 'cpu', /^(f32|bf16)$/],
    ['the CPU alone', ['cpu'], 'cpu', /^(f32|bf16)$/],
  ] as const)('gets %s', async (_, found, device, dtype) => {
    expect(await resolveCompute({ compute }, found)).toMatchObject({
      device,
      dtype: expect.stringMatching(dtype),
      threads: 2,
    });
  });

  it('is told what there is where the device that it asks for is not', async () => {
    const asked = resolveCompute({ compute: { ...compute, device: 'cuda' } }, ['mps', 'cpu']);
    await expect(asked).rejects.toMatchObject({
      code: 'no-such-device',
      message: expect.stringContaining('mps, cpu'),
    });
  });
});
