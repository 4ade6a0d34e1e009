import type { ViteUserConfig } from 'vitest/config';

/** Fuzz, soak, kill and seed twins; RECKON_SLOW_SCALE (default 1, CI's size) multiplies their number of cases. */
const config: ViteUserConfig = {
  test: {
    include: ['test/slow/**/*.test.ts'],
    globalSetup: 'test/set-up.ts',
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 600_000,
    hookTimeout: 600_000,
    env: { RECKON_THREADS: '2', NO_COLOR: '1' },
  },
};

export default config;
