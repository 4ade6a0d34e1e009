/** Owns killing a run for real, again and again, until it ends all the same; the fast test and its slow twin share it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Rng } from '../../src/util/rng.ts';
import { runWords, startReckon } from './tiny-run.ts';

/** How a run went that was killed. */
export interface KillReport {
  /** What was printed last before each kill. */
  readonly kills: readonly string[];
  readonly output: string;
}

/**
 * Starts the run and kills it (SIGKILL) once each of `moments` is printed and a seeded random pause has passed; a text
 * of '' counts from the start of the process. Then runs the same command to its end, which must be exit code 0.
 */
export async function runThroughKills(
  folder: string,
  name: string,
  moments: readonly string[],
  { seed, pauseMs }: { readonly seed: number; readonly pauseMs: number },
): Promise<KillReport> {
  const rng = new Rng({ seed, purpose: 'kill' });
  const kills: string[] = [];
  let all = '';
  for (const moment of moments) {
    const { child, seen, ended } = startReckon(runWords(folder, name));
    if (await seen(moment)) {
      await sleep(rng.integer(pauseMs));
      child.kill('SIGKILL');
    }
    const { code, signal, output } = await ended;
    all += output;
    if (signal === 'SIGKILL') kills.push(output.trimEnd().split('\n').at(-1) ?? '');
    else if (code !== 0) throw new Error(output);
  }
  const last = await startReckon(runWords(folder, name)).ended;
  if (last.code !== 0) throw new Error(last.output);
  return { kills, output: all + last.output };
}
