import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findAnswers } from '../../src/cli/answer-sources.ts';
import { type Evaluation, writeEvaluation } from '../../src/evaluate/evaluation.ts';

const share = { mean: 0, low: 0, high: 0.5 };
const evaluation = (label: string, checkpoint: string): Evaluation => ({
  version: 1,
  label,
  checkpoint,
  task: 'gsm8k',
  split: 'test',
  seed: 1,
  samplesPerProblem: 1,
  temperature: 1,
  n: 1,
  passAt1: share,
  passAt8: null,
  format: share,
  lengthMean: 5,
  unverifiable: 0,
  stopReasons: { eos: 1, stop: 0, length: 0, aborted: 0 },
  seconds: 1,
  problems: [{ id: 'a', question: 'a', samples: 1, correct: 0, formatOk: 0, unverifiable: 0 }],
  transcripts: [],
});

const before = process.cwd();
let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-compare-'));
  process.chdir(folder);
});
afterEach(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true });
});

it('a model of no run is its evaluation here, by folder however it is written or by hub id', () => {
  mkdirSync('models/mine', { recursive: true });
  writeFileSync('models/mine/config.json', '{}');
  expect(() => findAnswers('models/mine', 'runs')).toThrow(
    'models/mine is a model that has not been evaluated here; measure it with `reckon evaluate models/mine --task <task>`',
  );
  mkdirSync('evaluations');
  writeEvaluation('evaluations/mine.json', evaluation('mine', 'models/mine'));
  writeEvaluation('evaluations/hub.json', evaluation('hub', 'org/name'));
  writeFileSync('evaluations/broken.json', '{');
  const path = join('evaluations', 'mine.json');
  expect(findAnswers('models/mine', 'runs')).toEqual([{ name: 'models/mine', path }]);
  expect(findAnswers(join(folder, 'models/mine'), 'runs')[0]!.path).toBe(path);
  expect(findAnswers('org/name', 'runs')[0]!.path).toBe(join('evaluations', 'hub.json'));
  expect(() => findAnswers('org/other', 'runs')).toThrow('is neither a file of answers');
});
