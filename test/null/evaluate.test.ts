/** Owns the tests of evaluations, their file and the combination of rewards. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { game24Problem } from '../../src/data/game24.ts';
import {
  type EvaluationContext,
  readEvaluation,
  summarise,
  withDistances,
  writeEvaluation,
} from '../../src/evaluate/index.ts';
import { factsTable } from '../../src/report/index.ts';
import { judgeGame24, type Scored, type ScoredGroup } from '../../src/rewards/index.ts';
import type { Rollout, StopReason } from '../../src/rollouts/rollout.ts';

const SAMPLE = new URL('./samples/evaluation-v1.json', import.meta.url).pathname;

const context: EvaluationContext = {
  label: 'sft',
  checkpoint: '02-sft/checkpoints/step-000100',
  task: 'game24',
  split: 'test',
  seed: 7,
  temperature: 1,
  seconds: 12.5,
};

const hands = [
  [3, 3, 8, 8],
  [1, 2, 3, 4],
  [4, 4, 10, 10],
];

function rollout(problemId: string, sampleIndex: number, text: string, stopReason: StopReason): Rollout {
  const completionIds = [...text].map((character) => character.charCodeAt(0));
  const logps = completionIds.map(() => -0.5);
  return {
    problemId,
    sampleIndex,
    promptIds: [1],
    completionIds,
    logps,
    samplingLogps: logps,
    stopReason,
    text,
    policyStep: 100,
  };
}

/** A group whose first samples are right, the rest wrong; the last one was cut off and is not in the format. */
function group(numbers: readonly number[], right: string, correct: number, samples = 8): ScoredGroup {
  const problem = game24Problem(numbers);
  const scored = Array.from({ length: samples }, (_, i): Scored => {
    const last = i === samples - 1;
    const text = i < correct ? right : numbers.join('+');
    return {
      rollout: rollout(problem.id, i, text, last ? 'length' : 'eos'),
      reward: i < correct ? 1 : 0,
      parts: {},
      judgement: judgeGame24(numbers, text),
      formatOk: !last,
    };
  });
  return { problem, scored };
}

function groups(samples = 8): ScoredGroup[] {
  return [
    group(hands[0]!, '8/(3-8/3)', 2, samples),
    group(hands[1]!, '1*2*3*4', samples, samples),
    group(hands[2]!, '(10*10-4)/4', 0, samples),
  ];
}

describe('summarise', () => {
  test('by hand', () => {
    const evaluation = summarise(context, groups());
    expect(evaluation).toMatchObject({ ...context, version: 1, n: 3, samplesPerProblem: 8, unverifiable: 0 });
    expect(evaluation.passAt1.mean).toBeCloseTo((2 / 8 + 1 + 0) / 3, 12);
    expect(evaluation.passAt8!.mean).toBeCloseTo(2 / 3, 12);
    expect(evaluation.format.mean).toBe(7 / 8);
    expect(evaluation.intervals).toBe('wilson-clustered');
    expect(evaluation.stopReasons).toEqual({ eos: 21, stop: 0, length: 3, aborted: 0 });
    expect(evaluation.lengthMean).toBeCloseTo((2 * 9 + 6 * 7 + 8 * 7 + 8 * 9) / 24, 12);
    expect(evaluation.problems.map((p) => p.correct)).toEqual([2, 8, 0]);
    expect(evaluation.transcripts[0]).toEqual({
      problemId: 'game24/3-3-8-8',
      question: '3 3 8 8',
      completion: '8/(3-8/3)',
      verdict: 'correct',
      reason: 'correct',
      stopReason: 'eos',
    });
    const { passAtK, majAtK, overall, cells, lengths, measures } = evaluation.details!;
    expect(passAtK.map(({ k }) => k)).toEqual([1, 2, 4, 8]);
    expect(passAtK[0]).toEqual({ k: 1, ...evaluation.passAt1 });
    expect(passAtK[1]!.mean).toBeCloseTo((1 - (6 * 5) / (8 * 7) + 1) / 3, 12);
    // Two right against six that say the same wrong thing; all right; none right.
    expect(majAtK.map(({ mean }) => mean)).toEqual([
      passAtK[0]!.mean,
      majAtK[1]!.mean,
      majAtK[2]!.mean,
      1 / 3,
    ]);
    expect(overall.mean).toBeCloseTo((2 / 8 + 7 / 8) / 3, 12);
    expect(cells).toEqual({ both: 9, formatOnly: 12, answerOnly: 1, neither: 2 });
    expect(lengths).toMatchObject({ median: 7, longest: 9, correctMean: (2 * 9 + 8 * 7) / 10 });
    expect(measures).toMatchObject({ exactMatch: null, numericalAccuracy: null, compositeScore: null });
    for (const { mean, low, high } of [evaluation.passAt1, evaluation.passAt8!, evaluation.format]) {
      expect(low).toBeLessThan(mean);
      expect(high).toBeGreaterThan(mean);
    }
    expect(summarise(context, groups())).toEqual(evaluation);
  });

  test('unverifiable is not correct and has its own column', () => {
    const [first, ...rest] = groups();
    const judgement = { verdict: 'unverifiable', reason: 'timeout', extracted: '' } as const;
    const scored = first!.scored.map((sample) => ({ ...sample, judgement }));
    const evaluation = summarise(context, [{ problem: first!.problem, scored }, ...rest]);
    expect(evaluation.unverifiable).toBe(8);
    expect(evaluation.problems[0]).toMatchObject({ correct: 0, unverifiable: 8 });
  });

  test('coverage is of the worked solution, and the scores grow with what else is measured', () => {
    const asked = (
      id: string,
      reference: string,
      solution: string,
      texts: readonly string[],
    ): ScoredGroup => ({
      problem: { id, question: id, reference, meta: { solution } },
      scored: texts.map((text, i) => ({
        rollout: rollout(id, i, text, 'eos'),
        reward: 0,
        parts: {},
        judgement: { verdict: 'correct', reason: 'same', extracted: reference },
        formatOk: true,
      })),
    });
    const covered = summarise(context, [
      asked('a', '24', 'She has 48 / 2 = <<48/2=24>>24 pens.\n#### 24', ['48 / 2 = 24', 'It is 24.']),
      asked('b', '7', 'Seven, as all know.', ['So, 3 + 4 = 7', '7']),
    ]);
    const { measures } = covered.details!;
    expect(measures.stepCoverage).toBe(0.5);
    expect(measures.compositeScore).toBe(1);
    const known = 0.5 * 1 + 0.2 * 0.5 + 0.2 * measures.logicalConsistency;
    expect(measures.reasoningScore).toBeCloseTo(known + 0.1, 12);
    const far = {
      ...{ tokens: 9, klPq: 5, klQp: 1, js: 0.1, cosine: 0.9, flatCosine: -0.4 },
      ...{ top1Agreement: 1, totalVariation: 0.1 },
    };
    const others = [
      { p: context.checkpoint, q: 'teacher', ...far },
      { p: context.checkpoint, q: 'other', ...far, flatCosine: 1 },
    ];
    const compared = withDistances(covered, others).details!.measures;
    expect(compared.compositeScore).toBeCloseTo((0.4 - 0.3 * 0.4) / 0.7, 12);
    expect(compared.reasoningScore).toBeCloseTo(known + 0.1 / 2, 12);
    const path = join(mkdtempSync(join(tmpdir(), 'reckon-measures-')), 'sft.json');
    writeEvaluation(path, withDistances(covered, others));
    expect(readEvaluation(path).details!.measures).toEqual(compared);
    rmSync(path);
    expect(factsTable(withDistances(covered, others)).map(([name]) => name)).toContain(
      'composite score (accuracy, cosine)',
    );
  });

  test('fewer than 8 samples have no pass@8', () => {
    expect(summarise(context, groups(4)).passAt8).toBeNull();
  });

  test('nothing, and uneven groups, are refused', () => {
    const code = (wanted: string) => expect.objectContaining({ code: wanted });
    expect(() => summarise(context, [])).toThrow(code('nothing-evaluated'));
    expect(() => summarise(context, [{ problem: game24Problem([1, 2, 3, 4]), scored: [] }])).toThrow(
      code('nothing-evaluated'),
    );
    expect(() => summarise(context, [...groups(), ...groups(4)])).toThrow(code('uneven-samples'));
  });
});

describe('the file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'reckon-evaluate-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  test('comes back as it was, replaces an older one, and leaves nothing else behind', () => {
    const path = join(folder, 'evaluations', 'sft.json');
    writeEvaluation(path, summarise({ ...context, seconds: 1 }, groups(4)));
    const evaluation = summarise(context, groups());
    writeEvaluation(path, evaluation);
    expect(readEvaluation(path)).toEqual(evaluation);
    expect(readdirSync(join(folder, 'evaluations'))).toEqual(['sft.json']);
  });

  test('the committed sample of version 1 still reads', () => {
    const evaluation = readEvaluation(SAMPLE);
    expect(evaluation).toEqual(JSON.parse(readFileSync(SAMPLE, 'utf8')));
    expect(evaluation.passAt1.mean).toBeCloseTo(1.25 / 3, 12);
    expect(evaluation.problems.map((p) => p.correct)).toEqual([2, 8, 0]);
  });

  test('a missing, torn or foreign file is one error that names it', () => {
    const path = join(folder, 'x.json');
    const bad = expect.objectContaining({
      code: 'evaluation-unreadable',
      message: expect.stringContaining(path),
    });
    expect(() => readEvaluation(path)).toThrow(bad);
    const text = readFileSync(SAMPLE, 'utf8');
    for (const content of [text.slice(0, 400), '{}', text.replace('"version": 1', '"version": 2')]) {
      writeFileSync(path, content);
      expect(() => readEvaluation(path)).toThrow(bad);
    }
  });

  test('what does not fit the schema is not written', () => {
    const path = join(folder, 'x.json');
    const evaluation = { ...summarise(context, groups()), lengthMean: Number.NaN };
    expect(() => writeEvaluation(path, evaluation)).toThrow(
      expect.objectContaining({ code: 'evaluation-invalid' }),
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});
