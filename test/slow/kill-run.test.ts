/** The kill test at random moments: RECKON_SLOW_SCALE rounds of three, each with its own seed and eight kills. */

import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { runThroughKills } from '../e2e/kill-rounds.ts';
import { essence, leftovers, runTiny, tinyFolder, trainedModel } from '../e2e/tiny-run.ts';

const ROUNDS = Math.max(1, Math.round(3 * Number(process.env['RECKON_SLOW_SCALE'] ?? 1)));
const KILLS = 8;
/** About as long as a process lives that is left alone. */
const PAUSE_MS = 3000;

let folder: string;

beforeAll(async () => {
  folder = tinyFolder({ model: await trainedModel(), dtype: 'bf16' });
  expect(await runTiny(folder, 'whole')).toMatchObject({ code: 0, stderr: '' });
});

it.each(Array.from({ length: ROUNDS }, (_, round) => round))(
  'round %i of kills leaves the result of the run that was not killed',
  async (round) => {
    const name = `killed-${round}`;
    const moments = new Array<string>(KILLS).fill('');
    const { kills } = await runThroughKills(folder, name, moments, { seed: round, pauseMs: PAUSE_MS });
    expect(kills.length).toBeGreaterThan(0);
    expect(essence(join(folder, name))).toEqual(essence(join(folder, 'whole')));
    expect(leftovers(join(folder, name))).toEqual([]);
  },
);
