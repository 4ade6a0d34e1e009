import type { ViteUserConfig } from 'vitest/config';

/** Two workers with one torch thread each: workers x threads never exceeds the two cores that CI has. */
const config: ViteUserConfig = {
  test: {
    include: ['test/{null,torch,golden,e2e,gpu}/**/*.test.ts'],
    globalSetup: 'test/set-up.ts',
    setupFiles: 'test/equal-bytes.ts',
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: { RECKON_THREADS: '1', NO_COLOR: '1' },
  },
};

export default config;
