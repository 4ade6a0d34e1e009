/**
 * Owns a process that samples while the system gives it no more than so many bytes of address space beyond what it has:
 * `tight-room.ts JOB`, a `TightJob` as JSON. Prints what came of it as JSON.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type GenerationRequest, generate } from '../../src/generate/index.ts';
import { loadModel } from '../../src/models/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { freeCachedMemory, useKernels } from '../../src/torch/index.ts';

export interface TightJob {
  readonly model: string;
  readonly level: string;
  readonly room: number;
  readonly requests: readonly GenerationRequest[];
  readonly maxNewTokens: number;
}

/** The ids of every completion, the slots of the cache in every step, and what was said. */
export interface TightResult {
  readonly ids: readonly (readonly number[])[];
  readonly slots: readonly number[];
  readonly said: readonly string[];
}

const { model: path, level, room, requests, maxNewTokens } = JSON.parse(process.argv[2]!) as TightJob;
useKernels(level);
using policy = loadModel(path, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
using model = policy.snapshot();
const tokenizer = loadTokenizer(path);
const options = { temperature: 1, topP: 1, maxNewTokens, stopIds: [2], seed: 7, step: 3 };
// What is loaded, compiled and started at the first time has no part in it.
const few = requests.map((request) => ({ ...request, samples: Math.min(request.samples, 40) }));
await generate(model, tokenizer, few, options);
freeCachedMemory('cpu');
const slots: number[] = [];
const { step } = model;
model.step = (ids_N, context) => {
  slots.push(context.cache.shape.slots);
  return step.call(model, ids_N, context);
};
const taken = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[0]) * 4096;
execFileSync('prlimit', ['--pid', String(process.pid), `--as=${Math.round(taken + room)}:`]);
const said: string[] = [];
const log = (line: string): void => void said.push(line);
const groups = await generate(model, tokenizer, requests, { ...options, maxRows: 10_000, log });
const result: TightResult = { ids: groups.flat().map((one) => one.completionIds), slots, said };
process.stdout.write(JSON.stringify(result));
