/** Owns the proof that runs are listed, shown and pruned as their files say, and that nothing needed is removed. */

import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { listCheckpoints, writeCheckpoint } from '../../src/checkpoints/folder.ts';
import { formatRecipe, parseRecipe } from '../../src/recipe/index.ts';
import { readRollouts, rolloutText } from '../../src/report/rollouts.ts';
import { listRuns } from '../../src/run/listing.ts';
import { acquireLock } from '../../src/run/lock.ts';
import { planPruning, pruneRun } from '../../src/run/pruning.ts';
import { FIXTURE_RECIPE } from './run-fixture.ts';

let runs: string;
let run: string;

beforeEach(async () => {
  runs = mkdtempSync(join(tmpdir(), 'reckon-runs-'));
  run = join(runs, 'first');
  const recipe = parseRecipe(FIXTURE_RECIPE, 'recipe.yaml');
  mkdirSync(join(run, '02-sft', 'rollouts'), { recursive: true });
  writeFileSync(join(run, 'recipe.yaml'), formatRecipe(recipe));
  writeFileSync(join(run, '02-sft', 'stage.json'), JSON.stringify({ status: 'running' }));
  writeFileSync(join(run, '02-sft', 'metrics.jsonl'), '{"step":1,"loss":2}\n{"step":2,"loss":1}\n');
  const line = {
    step: 1,
    problemId: 'p',
    sampleIndex: 0,
    completion: 'a\u001b[31m',
    stopReason: 'eos',
    reward: 0.5,
  };
  const rollouts = [
    { ...line, parts: { correct: 0 }, advantage: -1, verdict: 'incorrect', reason: 'not-24' },
    { ...line, step: 2, parts: {}, verdict: 'correct', reason: 'correct', reward: null },
  ];
  writeFileSync(
    join(run, '02-sft', 'rollouts', 'train.jsonl'),
    rollouts.map((one) => `${JSON.stringify(one)}\n`).join(''),
  );
  for (const step of [1, 2, 3])
    await writeCheckpoint(join(run, '02-sft'), step, (folder) =>
      writeFileSync(join(folder, 'weights'), 'x'.repeat(100)),
    );
});

describe('reckon runs', () => {
  it('says state, stage and step; a folder that is no run is passed over', () => {
    mkdirSync(join(runs, 'other'));
    expect(listRuns(runs)).toMatchObject([
      { name: 'first', state: 'stopped', stage: '02-sft', step: 2, best: null },
    ]);
    const lock = acquireLock(run);
    expect(listRuns(runs)[0]!.state).toBe('running');
    lock.release();
  });

  it('says what to do where there is no folder', () => {
    expect(() => listRuns(join(runs, 'nowhere'))).toThrow(/no runs folder .* --runs-dir/);
  });
});

describe('reckon show --rollouts', () => {
  it('filters by step, problem and verdict', () => {
    const stage = join(run, '02-sft');
    expect(readRollouts(stage).length).toBe(2);
    expect(readRollouts(stage, { verdict: 'correct' }).map((line) => line.step)).toEqual([2]);
    expect(readRollouts(stage, { step: 1, problem: 'q' })).toEqual([]);
    expect(() => readRollouts(run)).toThrow(/keeps no rollouts/);
  });

  it('prints reward, parts and verdict, and no control characters of a completion', () => {
    const text = rolloutText(readRollouts(join(run, '02-sft'))[0]!, (_style, plain) => plain);
    expect(text).toContain('step 1, problem p, sample 0  [incorrect: not-24]');
    expect(text).toContain('reward 0.5 (correct 0), advantage -1, ended by eos');
    expect(text).not.toContain('\u001b');
  });
});

describe('reckon prune', () => {
  it('keeps the newest, and the newest whole one where newer ones are damaged', () => {
    writeFileSync(join(run, '02-sft', 'checkpoints', 'step-000003', 'weights'), 'damaged');
    expect(planPruning(run, { last: 1, best: 0 }).map(({ step, goes }) => [step, goes])).toEqual([
      [1, true],
      [2, false],
      [3, false],
    ]);
    pruneRun(run, { last: 1, best: 0 });
    expect(listCheckpoints(join(run, '02-sft')).map(({ step }) => step)).toEqual([2, 3]);
  });

  it('is refused while a process holds the run', () => {
    const lock = acquireLock(run);
    expect(() => pruneRun(run, { last: 1, best: 0 })).toThrow(/pid|process/);
    lock.release();
    expect(existsSync(join(run, '02-sft', 'checkpoints', 'step-000001'))).toBe(true);
  });
});
