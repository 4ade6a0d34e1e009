/** Owns bringing the addon and dist/ up to date once, before any test: processes that tests start are of these sources. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

const SCRIPT = fileURLToPath(new URL('../scripts/setup.mjs', import.meta.url));

/** Called by vitest before the tests, and again before those of a changed file while it watches. */
export function setup(project: TestProject): void {
  setUp();
  project.onTestsRerun(async () => setUp());
}

function setUp(): void {
  const { status } = spawnSync(process.execPath, [SCRIPT], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error('the set-up did not come to its end: what it says stands above');
}
