/**
 * One recipe with every type of stage, killed (kill -9) at a random moment of each of them, ends as the run that was left
 * alone. RECKON_SLOW_SCALE rounds, each with its own seed.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { stageTypes } from '../../src/recipe/index.ts';
import { Rng } from '../../src/util/rng.ts';
import {
  essence,
  json,
  leftovers,
  runTiny,
  runWords,
  startReckon,
  tinyFolder,
  trainedModel,
} from '../e2e/tiny-run.ts';

const ROUNDS = Math.max(1, Math.round(Number(process.env['RECKON_SLOW_SCALE'] ?? 1)));

const update = 'microBatchTokens: 1024, learningRate: 1.0e-3';
const sampled = `promptsPerStep: 8, groupSize: 4, optimizerBatch: 16, ${update}`;
const STAGES = `
  - type: prepare
  - { type: evaluate, label: base }
  - { type: model, label: large, init: { hiddenSize: 48, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 } }
  - { type: sft, from: prepare, steps: 12, optimizerBatch: 16, ${update} }
  - { type: expert-iteration, steps: 4, promptsPerStep: 24, groupSize: 4, optimizerBatch: 8, ${update} }
  - { type: grpo, steps: 8, ${sampled}, epochs: 2, kl: { beta: 0.05 }, reference: start, rewards: [{ name: format, weight: 1 }, { name: correct, weight: 1 }] }
  - { type: ppo, steps: 6, ${sampled}, rewards: [{ name: process, weight: 1 }], intrinsic: { teacher: large } }
  - { type: dpo, steps: 6, promptsPerStep: 8, groupSize: 4, compare: first-error, optimizerBatch: 8, ${update} }
  - { type: distill, teacher: large, steps: 6, promptsPerStep: 8, groupSize: 2, ${update} }
  - { type: evaluate, label: end }
  - { type: compare }
  - type: report`;

let folder: string;
/** Every stage's folder name with the seconds that it took when nothing disturbed it. */
let stages: readonly { readonly name: string; readonly seconds: number }[];

beforeAll(async () => {
  folder = tinyFolder({ model: await trainedModel(), stages: STAGES, maxCompletionTokens: 48 });
  expect(await runTiny(folder, 'whole')).toMatchObject({ code: 0, stderr: '' });
  const records = readdirSync(join(folder, 'whole'))
    .filter((name) => /^\d\d-/.test(name))
    .sort()
    .map((name) => ({ name, ...json(join(folder, 'whole', name, 'stage.json')) }) as Record<string, unknown>);
  expect(new Set(records.map((record) => record['type']))).toEqual(new Set(stageTypes));
  stages = records.map((record) => ({ name: String(record['name']), seconds: Number(record['seconds']) }));
});

it.each(Array.from({ length: ROUNDS }, (_, round) => round))('round %i', async (round) => {
  const name = `killed-${round}`;
  const rng = new Rng({ seed: round, purpose: 'kill' });
  let kills = 0;
  for (const stage of stages) {
    const { child, seen, ended } = startReckon(runWords(folder, name));
    // Started, resumed, or done already because the last kill came late: then this one falls into a later stage.
    if (await seen(`${stage.name}: `)) {
      await sleep(rng.uniform() * stage.seconds * 1000);
      child.kill('SIGKILL');
    }
    const { code, signal, output } = await ended;
    if (signal === 'SIGKILL') kills++;
    else expect({ code, output }).toMatchObject({ code: 0 });
  }
  expect(kills).toBeGreaterThanOrEqual(10);
  expect(await startReckon(runWords(folder, name)).ended).toMatchObject({ code: 0 });
  expect(essence(join(folder, name))).toEqual(essence(join(folder, 'whole')));
  expect(leftovers(join(folder, name))).toEqual([]);
});
