/** Owns the tests of the report's further sections: setting, data, pairs, extreme rollouts, shading. */

import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { summariseRows, writeEvaluation } from '../../src/evaluate/evaluation.ts';
import type { EvaluationRow } from '../../src/evaluate/rows.ts';
import { extremeRollouts } from '../../src/report/last-rollouts.ts';
import { shadedTokens, tokenTexts } from '../../src/report/shading.ts';
import { writeReport } from '../../src/report/write-report.ts';
import { characterTokenizer } from '../../src/text/index.ts';

let run = '';

function row(id: string, correct: boolean): EvaluationRow {
  const completion = correct ? '1*2=2 3 4\n2*3=6 4\n6*4=24\n#1*2*3*4' : '1+2=4 3 4\nx\n#1';
  return {
    problemId: `game24/${id}`,
    sampleIndex: 0,
    question: id,
    prompt: id,
    completion,
    solution: '24',
    answer: null,
    reward: Number(correct),
    parts: {},
    verdict: correct ? 'correct' : 'incorrect',
    reason: correct ? 'correct' : 'not-24',
    formatOk: true,
    stopReason: 'eos',
    tokens: 20,
  };
}

function measured(label: string, checkpoint: string, right: number): void {
  const ids = ['1-2-3-4', '3-3-8-8', '4-4-10-10', '6-6-6-6', '2-8-12-12', '1-5-5-5', '1-1-4-6', '2-2-6-6'];
  const rows = ids.map((id, i) => row(id, i < right));
  const context = { label, checkpoint, task: 'game24', split: 'test', seed: 1, temperature: 0, seconds: 2 };
  writeEvaluation(
    join(run, 'evaluations', `${label}.json`),
    summariseRows({ ...context, rows: `${label}.rows.jsonl` }, rows),
  );
  const text = rows.map((one) => `${JSON.stringify(one)}\n`).join('');
  writeFileSync(join(run, 'evaluations', `${label}.rows.jsonl`), text);
}

beforeAll(() => {
  run = mkdtempSync(join(tmpdir(), 'reckon-sections-'));
  for (const part of [
    '01-prepare/problems',
    '01-prepare/checkpoints/step-000000',
    '02-grpo/rollouts',
    'evaluations',
  ])
    mkdirSync(join(run, part), { recursive: true });
  writeFileSync(
    join(run, 'recipe.yaml'),
    'name: s\nseed: 7\ntask: { name: game24 }\nstages:\n  - { type: grpo, steps: 2, groupSize: 4, kl: { beta: 0.01 } }\n',
  );
  writeFileSync(join(run, '01-prepare/problems/train.jsonl'), '{}\n{}\n{}\n');
  writeFileSync(join(run, '01-prepare/problems/test.jsonl'), '{}\n');
  const tokenizer = characterTokenizer([...'0123456789+-*/()=# \n:x']);
  tokenizer.save(join(run, '01-prepare/checkpoints/step-000000'));
  const lines = [1, 2].flatMap((step) =>
    [0.1, 0.9, 0.4, -0.2].map((reward, sampleIndex) => {
      const completion = `1+2=3 ${sampleIndex}`;
      const completionIds = tokenizer.encode(completion);
      const tokenRewards = completionIds.map((_, i) => (i % 2 === 0 ? 1 : -0.5));
      const line = { step, problemId: 'game24/1-2-3-4', sampleIndex, completion, stopReason: 'eos', reward };
      return {
        ...line,
        parts: { correct: 0 },
        verdict: 'incorrect',
        reason: 'not-24',
        completionIds,
        tokenRewards,
      };
    }),
  );
  writeFileSync(
    join(run, '02-grpo/rollouts/train.jsonl'),
    lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  measured('before', '01-prepare/checkpoints/step-000000', 1);
  measured('after', '02-grpo/checkpoints/step-000002', 7);
});
afterAll(() => rmSync(run, { recursive: true, force: true }));

describe('the whole report', () => {
  it('has every section in both forms', () => {
    const { htmlPath, markdownPath, run: data } = writeReport(run);
    const [html, markdown] = [readFileSync(htmlPath, 'utf8'), readFileSync(markdownPath, 'utf8')];
    for (const title of [
      'Setting',
      'Data',
      'Before and after',
      'More of after',
      '24 game',
      'Best and worst rollouts',
    ]) {
      expect(html).toContain(`<h2>${title}</h2>`);
      expect(markdown).toContain(`## ${title}\n`);
    }
    expect(markdown).toContain('| grpo | steps 2, groupSize 4, kl.beta 0.01 |');
    expect(markdown).toMatch(/\| train \| 3 \|\n\| test \| 1 \|/);
    expect(markdown).toMatch(/\| before \| after \| \+75\.0 \\\[.*\| 0 \| 6 \| 0\.031 \| 6 \| 0 \|/);
    expect(markdown).toMatch(/\| fractions needed \| 2 \|/);
    expect(markdown).toContain('Best: reward 0.9, problem game24/1-2-3-4');
    expect(data.notes.filter((note) => note.includes('could not'))).toEqual([]);
    expect(html).not.toMatch(/<script|<img|<link|https?:/i);
    for (const tag of ['section', 'article', 'table', 'pre', 'span', 'p'])
      expect([tag, html.match(new RegExp(`<${tag}[ >]`, 'g'))?.length]).toEqual([
        tag,
        html.match(new RegExp(`</${tag}>`, 'g'))?.length,
      ]);
  });

  it('shades the tokens of rollouts that have a reward for each', () => {
    const html = readFileSync(writeReport(run).htmlPath, 'utf8');
    expect(html).toContain(
      '<span class="up" style="--a:0.7" title="1">1</span><span class="down" style="--a:0.35" title="-0.5">+</span>',
    );
  });
});

describe('extreme rollouts', () => {
  it('are of the last step, none both best and worst, torn lines left out', () => {
    const found = extremeRollouts(run, '02-grpo')!;
    expect(found.step).toBe(2);
    expect(found.best.map((line) => line.reward)).toEqual([0.9, 0.4]);
    expect(found.worst.map((line) => line.reward)).toEqual([-0.2, 0.1]);
    expect(extremeRollouts(run, '02-grpo', 9)).toMatchObject({ best: [{}, {}], worst: [{}, {}] });
    appendFileSync(join(run, '02-grpo/rollouts/train.jsonl'), '{"step": 3, "problemId"');
    expect(extremeRollouts(run, '02-grpo')!.step).toBe(2);
    expect(extremeRollouts(run, '01-prepare')).toBeNull();
  });
});

describe('on paper', () => {
  it('nothing scrolls: columns of sentences wrap, settings stand in two columns, the recipe is printed', () => {
    const html = readFileSync(writeReport(run).htmlPath, 'utf8');
    expect(html).toContain('@page{size:A4');
    expect(html).toContain('<details class="appendix"><summary>The resolved recipe');
    const style = html.slice(html.indexOf('<style>'), html.indexOf('</style>'));
    const rules = style.slice(style.indexOf('@media print{\n'));
    expect(rules).toMatch(/\.wide\{overflow:visible[;}]/);
    expect(rules).toMatch(/tr,[^{]*\{break-inside:avoid\}/);
    expect(rules).toMatch(/\.appendix::details-content\{[^}]*visible/);
    expect(rules.split('{').length).toBe(rules.split('}').length);
    const table = html.slice(html.indexOf('<h2>Diagnosis</h2>'));
    if (table.includes('<th scope="col">found'))
      expect(table).toMatch(/<th scope="col" class="prose">try<\/th>/);
  });
});

describe('shading', () => {
  it('says what the numbers are, and takes a large divergence for bad', () => {
    const tokens = [
      { text: 'a', reward: 2 },
      { text: 'b', reward: 0 },
    ];
    expect(shadedTokens(tokens, 'log-ratio')).toMatch(/class="up" style="--a:0.7".*likelier.* 2 nats/);
    expect(shadedTokens(tokens, 'divergence')).toMatch(
      /class="down" style="--a:0.7".*Orange: before this token/,
    );
  });

  it('ranks rollouts of equal rewards by their tokens', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-ranks-'));
    mkdirSync(join(folder, '02-distill/rollouts'), { recursive: true });
    const lines = [0.5, 0.1, 0.9].map((divergence, sampleIndex) => ({
      step: 1,
      problemId: 'p',
      sampleIndex,
      completion: 'ab',
      stopReason: 'eos',
      reward: 0,
      parts: {},
      verdict: 'incorrect',
      reason: '',
      completionIds: [3, 4],
      tokenRewards: [divergence, divergence],
      tokenRewardKind: 'divergence',
    }));
    writeFileSync(
      join(folder, '02-distill/rollouts/train.jsonl'),
      lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    );
    const found = extremeRollouts(folder, '02-distill', 1)!;
    expect(found.by).toBe('divergence');
    expect([found.best[0]!.sampleIndex, found.worst[0]!.sampleIndex]).toEqual([1, 2]);
    rmSync(folder, { recursive: true });
  });

  it('escapes, and gives each id what it adds', () => {
    expect(shadedTokens([{ text: '<b>', reward: 0 }])).toContain('&lt;b&gt;');
    const decode = (ids: readonly number[]): string => ['a', 'b', 'é'].slice(0, ids.length).join('');
    expect(tokenTexts([5, 6, 7], decode)).toEqual(['a', 'b', 'é']);
  });
});
