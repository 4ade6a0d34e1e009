/**
 * The offline twins of the seeds' recipes, killed (kill -9) at ten random moments over all their stages (a teacher, PPO with
 * its reward, expert iteration, GRPO, adapters, comparisons), end as those that were left alone.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runThroughKills } from '../e2e/kill-rounds.ts';
import { essence, leftovers, ROOT, runTiny, temporaryFolder } from '../e2e/tiny-run.ts';

const KILLS = 10;
/** About as long as a process lives that is left alone. */
const PAUSE_MS = 4000;

it.each(['intrinsic-distillation', 'cs336', 'game24-long-cot', 'numina-grpo'])('%s', async (seed) => {
  const folder = temporaryFolder();
  const recipe = readFileSync(join(ROOT, 'recipes', seed, 'twin.yaml'), 'utf8');
  writeFileSync(join(folder, 'recipe.yaml'), recipe);
  expect(await runTiny(folder, 'whole')).toMatchObject({ code: 0, stderr: '' });
  const moments = new Array<string>(KILLS).fill('');
  const { kills } = await runThroughKills(folder, 'killed', moments, { seed: 7, pauseMs: PAUSE_MS });
  expect(kills.length).toBeGreaterThan(0);
  expect(essence(join(folder, 'killed'))).toEqual(essence(join(folder, 'whole')));
  expect(leftovers(join(folder, 'killed'))).toEqual([]);
});
