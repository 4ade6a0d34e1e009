import { afterAll, describe, expect, it, vi } from 'vitest';
import { resolveCompute } from '../../src/run/compute.ts';
import { isFasterInBf16, thisMachine } from '../../src/run/machine.ts';
import { measuredThreads } from '../../src/run/threads.ts';
import { kernelLevel, kernelLevels, threads, useKernels } from '../../src/torch/index.ts';
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

  it('is estimated in the dtype that it gets', async () => {
    const { dtype } = await resolveCompute({ compute }, ['cpu']);
    expect(thisMachine().bf16).toBe(dtype === 'bf16');
    expect(isFasterInBf16({ capabilities: ['asimd', 'bf16'] })).toBe(false);
  });

  it('is told what there is where the device that it asks for is not', async () => {
    const asked = resolveCompute({ compute: { ...compute, device: 'cuda' } }, ['mps', 'cpu']);
    await expect(asked).rejects.toMatchObject({
      code: 'no-such-device',
      message: expect.stringContaining('mps, cpu'),
    });
  });
});

describe('threads that are left to the machine', () => {
  const asked: number[][] = [];
  const taking = (seconds: Readonly<Record<number, number>>) => (counts: readonly number[]) => {
    asked.push([...counts]);
    return counts.map((count) => seconds[count]!);
  };

  it.each([
    ['all, where fewer are no faster', 16, { 16: 1, 8: 0.95, 4: 2 }, 16],
    ['half, where processors share cores', 16, { 16: 1, 8: 0.7, 4: 1.1 }, 8],
    ['a quarter, where that is faster still', 16, { 16: 1, 8: 0.8, 4: 0.6 }, 4],
    ['half of an odd number', 5, { 5: 1, 2: 0.5 }, 2],
  ] as const)('are %s', (_, most, seconds, expected) => {
    vi.stubEnv('RECKON_THREADS', '');
    expect(measuredThreads(most, taking(seconds))).toBe(expected);
    vi.unstubAllEnvs();
  });

  it('are not measured below four, nor where RECKON_THREADS says how many', () => {
    asked.length = 0;
    vi.stubEnv('RECKON_THREADS', '');
    expect(measuredThreads(3, taking({}))).toBe(3);
    vi.stubEnv('RECKON_THREADS', '8');
    expect(measuredThreads(8, taking({}))).toBe(8);
    vi.unstubAllEnvs();
    expect(asked).toEqual([]);
  });

  it('are measured by products, and left as they were', () => {
    vi.stubEnv('RECKON_THREADS', '');
    const before = threads();
    expect([4, 2]).toContain(measuredThreads(4));
    expect(threads()).toBe(before);
    vi.unstubAllEnvs();
  });
});
