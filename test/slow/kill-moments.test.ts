/** A run whose process is killed (kill -9) in every stage ends, by the same command, as if nothing had happened. */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runThroughKills } from '../e2e/kill-rounds.ts';
import { essence, leftovers, runTiny, tinyFolder, trainedModel } from '../e2e/tiny-run.ts';

/** One in each stage, and one at any moment of the start, when lock and environment are written. */
const MOMENTS = [
  '',
  '01-prepare: started',
  '02-evaluate-untrained: started',
  '03-sft 10/24',
  '04-evaluate-sft: started',
  '05-grpo: started',
  '05-grpo 4/12',
  '06-evaluate-grpo: started',
];

it('is killed in every stage and ends with the result of the run that was not', {
  timeout: 180_000,
}, async () => {
  const folder = tinyFolder({ model: await trainedModel(), dtype: 'bf16' });
  const [whole, { kills, output }] = await Promise.all([
    runTiny(folder, 'whole'),
    runThroughKills(folder, 'killed', MOMENTS, { seed: 1, pauseMs: 120 }),
  ]);
  expect(whole).toMatchObject({ code: 0, stderr: '' });
  expect(kills.length).toBeGreaterThanOrEqual(4);
  expect(output).toContain('has died; taking over');
  expect(output).toContain('05-grpo: resuming after step');
  expect(essence(join(folder, 'killed'))).toEqual(essence(join(folder, 'whole')));
  expect(leftovers(join(folder, 'killed'))).toEqual([]);
});
