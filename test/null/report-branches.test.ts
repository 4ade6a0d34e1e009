import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Evaluation, writeEvaluation } from '../../src/evaluate/evaluation.ts';
import { heldOutChart, writeCurve } from '../../src/report/curves.ts';
import { htmlReport } from '../../src/report/html.ts';
import { evaluatedBefore, linesOf, modelStages } from '../../src/report/lineage.ts';
import { markdownReport } from '../../src/report/markdown.ts';
import { type RunData, readRun, runLineage } from '../../src/report/read-run.ts';
import { headline, settingSentence, stageTree } from '../../src/report/results.ts';

const at = (folder: string, step: number): string =>
  `${folder}/checkpoints/step-${String(step).padStart(6, '0')}`;

function evaluation(label: string, checkpoint: string, correct: number, split = 'test'): Evaluation {
  const share = { mean: correct / 100, low: correct / 100 - 0.01, high: correct / 100 + 0.01 };
  return {
    version: 1,
    label,
    checkpoint,
    task: 'game24',
    split,
    seed: 1,
    samplesPerProblem: 1,
    temperature: 1,
    n: 2,
    passAt1: share,
    passAt8: null,
    format: share,
    lengthMean: 5,
    unverifiable: 0,
    stopReasons: { eos: 2, stop: 0, length: 0, aborted: 0 },
    seconds: 1,
    problems: ['a', 'b'].map((id) => ({
      id,
      question: id,
      samples: 1,
      correct: 1,
      formatOk: 1,
      unverifiable: 0,
    })),
    transcripts: [],
  };
}

/**
 * prepare - sft start (10 steps) - grpo (4), ei (2), ei - more (3); a wide model - sft teacher (20). The evaluation of grpo on
 * another split is no point of the chart.
 */
const STAGES = [
  ['01-prepare', 'prepare', null, 0],
  ['02-sft-start', 'sft', at('01-prepare', 0), 10],
  ['04-model-wide', 'model', at('01-prepare', 0), 0],
  ['05-sft-teacher', 'sft', at('04-model-wide', 0), 20],
  ['06-expert-iteration-ei', 'expert-iteration', at('02-sft-start', 10), 2],
  ['07-grpo', 'grpo', at('02-sft-start', 10), 4],
  ['08-grpo-more', 'grpo', at('06-expert-iteration-ei', 2), 3],
] as const;
const MEASURED = [
  evaluation('untrained', at('01-prepare', 0), 2),
  evaluation('start', at('02-sft-start', 10), 20),
  evaluation('teacher', at('05-sft-teacher', 20), 40),
  evaluation('ei', at('06-expert-iteration-ei', 2), 30),
  evaluation('grpo', at('07-grpo', 4), 35),
  evaluation('grpo-validation', at('07-grpo', 4), 99, 'validation'),
  evaluation('more', at('08-grpo-more', 3), 31),
];

let run = '';
let data: RunData;

beforeAll(() => {
  run = join(mkdtempSync(join(tmpdir(), 'reckon-branches-')), 'branched');
  for (const [folder, type, parent, steps] of STAGES) {
    mkdirSync(join(run, folder), { recursive: true });
    const record = { version: 1, type, status: 'done', parent };
    writeFileSync(join(run, folder, 'stage.json'), JSON.stringify(record));
    const lines = Array.from({ length: steps }, (_, i) => {
      const measured = folder === '07-grpo' && i === 1 ? { 'evaluation/pass_at_1': 0.25 } : {};
      return `${JSON.stringify({ step: i + 1, loss: 1, ...measured })}\n`;
    });
    if (steps > 0) writeFileSync(join(run, folder, 'metrics.jsonl'), lines.join(''));
  }
  writeFileSync(join(run, 'recipe.yaml'), 'name: branched\ntask: { name: game24 }\nseed: 3\n');
  mkdirSync(join(run, 'evaluations'));
  for (const one of MEASURED) writeEvaluation(join(run, 'evaluations', `${one.label}.json`), one);
  data = readRun(run);
});
afterAll(() => rmSync(join(run, '..'), { recursive: true, force: true }));

describe('a run whose stages branch', () => {
  it('is as many lines as it has branches, each from its own start', () => {
    const chart = heldOutChart(data)!;
    const lines = Object.fromEntries(
      chart.series.map(({ label, points }) => [
        label,
        points.map(({ x, y }) => [Math.round(10 * x) / 10, y] as const),
      ]),
    );
    expect(lines).toEqual({
      start: [
        [0, 0.02],
        [1, 0.2],
      ],
      teacher: [[1, 0.4]],
      'ei → more': [
        [1, 0.2],
        [2, 0.3],
        [3, 0.31],
      ],
      // In the middle what the stage measured on its way; of the two evaluations at its end that of the split of the others.
      grpo: [
        [1, 0.2],
        [1.5, 0.25],
        [2, 0.35],
      ],
    });
    const html = htmlReport(data);
    expect(html).not.toMatch(/class="boundary/);
    // One line each but for the teacher's single dot; their keys and dashes differ.
    const drawn = [...html.matchAll(/<g class="(s\d)"><path class="(line[^"]*)"/g)].map(([, s, d]) => s! + d);
    expect(new Set(drawn).size).toBe(3);
  });

  it('tells its results, its stages and its tree by branches', () => {
    const told =
      'pass@1: 2.0 % untrained → 20.0 % start; 40.0 % teacher; from start: 30.0 % ei → 31.0 % more, 35.0 % grpo';
    // What was measured on another split is no part of it; nor, where the recipe measures, what was measured by hand.
    expect(headline(data)).toBe(told);
    const own = ['untrained', 'ei'].map((label) => ({
      ...{ folder: `09-evaluate-${label}`, name: `evaluate-${label}` },
      ...{ status: 'done', type: 'evaluate', metrics: [] },
    }));
    expect(headline({ ...data, stages: [...data.stages, ...own] })).toBe(
      'pass@1: 2.0 % untrained; from start: 30.0 % ei',
    );
    expect(settingSentence(data)).toContain(
      'through start (10 steps), teacher (20 steps); from start: ei (2 steps) and then more (3 steps), grpo (4 steps)?',
    );
    const tree = [
      'prepare: pass@1 2.0 %',
      '└─ start: 10 steps, pass@1 20.0 %',
      '   ├─ ei: 2 steps, pass@1 30.0 %',
      '   │  └─ more: 3 steps, pass@1 31.0 %',
      '   └─ grpo: 4 steps, pass@1 35.0 %',
      'wide',
      '└─ teacher: 20 steps, pass@1 40.0 %',
    ].join('\n');
    expect(stageTree(data)).toBe(tree);
    expect(markdownReport(data)).toContain(tree);
    expect(htmlReport(data)).toContain(tree);
  });

  it('sets each model beside the one it came from, not beside the one measured before it', () => {
    const stages = runLineage(data);
    const earlier = (label: string): string[] =>
      evaluatedBefore(data.evaluations.find((one) => one.label === label)!, data.evaluations, stages).map(
        (one) => one.label,
      );
    expect(earlier('grpo')).toEqual(['start', 'untrained']);
    expect(earlier('more')).toEqual(['ei', 'start', 'untrained']);
    expect(earlier('teacher')).toEqual([]);
    const section = markdownReport(data).split('## Before and after')[1]!.split('##')[0]!;
    const pairs = [...section.matchAll(/^\| (\S+) \| (\S+) \| [^:]/gm)].map(([, a, b]) => `${a} ${b}`);
    expect(pairs.slice(2)).toEqual(['untrained start', 'start ei', 'start grpo', 'ei more']);
  });

  it('has every checkpoint on its own branch in the chart of evaluate --all-checkpoints', () => {
    const evaluations = [...MEASURED, evaluation('half', at('02-sft-start', 5), 11)];
    const path = writeCurve(run, { stages: data.stages, evaluations })!;
    expect(path).toBe(join(run, 'checkpoints.svg'));
    const chart = heldOutChart({ stages: data.stages, evaluations })!;
    expect(chart.series[0]!.points.map(({ x, y }) => [x, y])).toEqual([
      [0, 0.02],
      [0.5, 0.11],
      [1, 0.2],
    ]);
  });
});

describe('stages one after the other', () => {
  it('are one line, also where nothing says what they started from', () => {
    const chain = (parent: string | null | undefined) => [
      { folder: '01-prepare', name: 'prepare', steps: 0, parent: undefined },
      { folder: '02-sft', name: 'sft', steps: 4, parent },
      { folder: '03-grpo', name: 'grpo', steps: 6, parent: undefined },
    ];
    const evaluations = [evaluation('untrained', at('01-prepare', 0), 0)];
    for (const parent of [undefined, at('01-prepare', 0)]) {
      const lines = linesOf(modelStages(chain(parent), evaluations));
      expect(lines.map(({ stages }) => stages.map(({ name, start }) => [name, start]))).toEqual([
        [
          ['prepare', 0],
          ['sft', 0],
          ['grpo', 4],
        ],
      ]);
    }
    // A stage that goes on from the middle of another counts the steps behind it.
    const resumed = modelStages(
      [...chain(undefined), { folder: '04-x', name: 'x', steps: 5, parent: at('02-sft', 2) }],
      [],
    );
    expect(resumed.at(-1)).toMatchObject({ start: 2, depth: 0.5 });
  });
});
