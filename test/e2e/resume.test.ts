/** A run that was stopped by signals and resumed is, bit for bit, the run that was not. */

import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readStageRecord } from '../../src/run/stage-record.ts';
import {
  type Ended,
  essence,
  lines,
  runTiny,
  runWords,
  startReckon,
  tinyFolder,
  trainedModel,
} from './tiny-run.ts';

let model: string;

beforeAll(async () => {
  model = await trainedModel();
});

/** Runs on until `text` is printed and sends the signal. */
async function stopAt(folder: string, text: string, signal: NodeJS.Signals): Promise<Ended> {
  const { child, seen, ended } = startReckon(runWords(folder, 'stopped'));
  expect(await seen(text)).toBe(true);
  child.kill(signal);
  return ended;
}

/** The step after which a stage stopped, by its checkpoint. */
function stoppedAfter(run: string, stage: string): number {
  const record = readStageRecord(join(run, stage));
  expect(record?.status).toBe('stopped');
  return Number(record?.output?.split('step-')[1]);
}

describe.each(['f32', 'bf16'] as const)('in %s', (dtype) => {
  it('a run that is stopped twice and resumed equals the uninterrupted one', {
    timeout: 180_000,
  }, async () => {
    const folder = tinyFolder({ model, dtype });
    const run = join(folder, 'stopped');
    const [whole, first] = await Promise.all([
      runTiny(folder, 'whole'),
      stopAt(folder, '03-sft 3/24', 'SIGTERM'),
    ]);
    expect(whole).toMatchObject({ code: 0, stderr: '' });
    expect(first).toMatchObject({ code: 130, signal: null, stderr: '' });
    const sftStep = stoppedAfter(run, '03-sft');
    expect(sftStep).toBeGreaterThanOrEqual(3);
    expect(sftStep).toBeLessThan(24);
    expect(first.stdout).toContain(`03-sft: stopped after step ${sftStep}, which is saved`);

    const second = await stopAt(folder, '05-grpo 2/12', 'SIGINT');
    expect(second).toMatchObject({ code: 130, stderr: '' });
    expect(second.stdout).toContain(`03-sft: resuming after step ${sftStep} of 24`);
    const grpoStep = stoppedAfter(run, '05-grpo');
    expect(grpoStep).toBeGreaterThanOrEqual(2);
    expect(grpoStep).toBeLessThan(12);

    const third = await runTiny(folder, 'stopped');
    expect(third).toMatchObject({ code: 0, stderr: '' });
    expect(third.stdout).toContain('03-sft: done already');
    expect(third.stdout).toContain(`05-grpo: resuming after step ${grpoStep} of 12`);
    expect(essence(run)).toEqual(essence(join(folder, 'whole')));
    expectLearning(join(folder, 'whole', '05-grpo', 'metrics.jsonl'));
  });
});

/** Equal runs prove nothing where nothing was learned: there were gradients, and the policy left its reference. */
function expectLearning(metrics: string): void {
  const rows = lines(metrics);
  expect(rows.length).toBe(12);
  expect(rows.filter((row) => Number(row['grad_norm']) > 0).length).toBeGreaterThan(6);
  expect(Number(rows.at(-1)?.['policy/kl'])).toBeGreaterThan(0);
  expect(rows.some((row) => Number(row['reward/mean']) > 0)).toBe(true);
}
