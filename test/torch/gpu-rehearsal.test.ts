/** The tests of test/gpu themselves, on the pretended GPU, so that what waits for a real one is known to run. */

import { beforeAll, vi } from 'vitest';
import { setThreads } from '../../src/torch/index.ts';

vi.mock('../../src/torch/addon.ts', async (original) => {
  const { native } = await original<typeof import('../../src/torch/addon.ts')>();
  const { addonWith, PretendedGpu } = await import('./pretended-gpu.ts');
  return { native: addonWith(new PretendedGpu(), native) };
});

beforeAll(() => setThreads(1));

await import('../gpu/cuda.test.ts');
await import('../gpu/stages.test.ts');
