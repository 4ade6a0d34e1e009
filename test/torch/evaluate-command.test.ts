/** Owns the tests of `reckon evaluate` on a real run: rows, resuming, all checkpoints, distances. */

import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { addAnalyzeCommand } from '../../src/cli/analyze.ts';
import { addCompareCommand } from '../../src/cli/compare.ts';
import { addDiagnoseCommand } from '../../src/cli/diagnose.ts';
import { addEvaluateCommand } from '../../src/cli/evaluate.ts';
import { type EvaluationRequest, evaluateModel, evaluationFiles } from '../../src/cli/evaluate-model.ts';
import { type EvaluationTarget, findTargets } from '../../src/cli/evaluate-targets.ts';
import { addExportCommand } from '../../src/cli/export.ts';
import { readEvaluation, readRows } from '../../src/evaluate/index.ts';
import { parseRecipe } from '../../src/recipe/index.ts';
import { executeRun } from '../../src/run/index.ts';
import { readJsonl } from '../../src/util/jsonl.ts';
import { roomyFolder } from './room.ts';
import { assertNoLeaks } from './tiny.ts';

const RECIPE = `version: 1
name: tiny
seed: 3
task: { name: game24 }
model: { init: { hiddenSize: 32, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 } }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 40 }
evaluation: { samplesPerProblem: 2 }
checkpoints: { every: 20, keepLast: 5 }
stages:
  - type: prepare
  - { type: sft, steps: 40, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 3.0e-3 }
  - { type: evaluate, label: sft }
  - type: report
`;

let runs: string;
let run: string;

assertNoLeaks();

beforeAll(async () => {
  runs = roomyFolder('reckon-evaluate-command-');
  run = join(runs, 'tiny');
  await executeRun(parseRecipe(RECIPE, 'recipe.yaml'), {
    runsDirectory: runs,
    quiet: true,
    stream: { write: () => undefined },
    load: () => import('../../src/run/stage-functions.ts'),
  });
});
afterAll(() => rmSync(runs, { recursive: true, force: true }));

/** A command in this process; what it printed on stdout. */
async function reckon(...words: string[]): Promise<string> {
  const program = new Command('reckon').option('--json').option('--quiet').exitOverride();
  const commands = [
    addEvaluateCommand,
    addAnalyzeCommand,
    addCompareCommand,
    addDiagnoseCommand,
    addExportCommand,
  ];
  for (const add of commands) add(program, () => undefined);
  const printed: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  try {
    await program.parseAsync(['node', 'reckon', ...words, '--runs-dir', runs]);
  } finally {
    spy.mockRestore();
  }
  return printed.join('');
}

function evaluate(...words: string[]): Promise<string> {
  return reckon('evaluate', ...words, '--quiet', '--json');
}

describe('reckon evaluate', () => {
  test('measures what the run itself measured, and keeps every row', async () => {
    const printed = JSON.parse(await evaluate('tiny'));
    const [file] = printed.files;
    expect(file).toBe(join(run, 'evaluations', '02-sft-step-000040.json'));
    const [own, theirs] = [readEvaluation(join(run, 'evaluations', 'sft.json')), readEvaluation(file)];
    expect(theirs).toMatchObject({
      n: own.n,
      passAt1: own.passAt1,
      format: own.format,
      problems: own.problems,
      transcripts: own.transcripts,
      checkpoint: own.checkpoint,
    });
    expect(printed.evaluations[0].details.cells).toEqual(theirs.details?.cells);
    const rows = readRows(join(run, 'evaluations', theirs.rows!));
    expect(rows).toHaveLength(200);
    expect(rows[0]).toMatchObject({ sampleIndex: 0, solution: '24', question: own.problems[0]!.question });
    expect(rows[0]!.prompt).toMatch(/\d+ \d+ \d+ \d+\n$/);
    expect(Object.keys(rows[0]!.parts)).toEqual(expect.arrayContaining(['correct', 'format', 'process']));
  });

  test('of a limit, greedy, with seeds, on another split, without long prompts', async () => {
    const { evaluations } = JSON.parse(
      await evaluate('tiny', '--limit', '12', '--greedy', '--split', 'validation'),
    );
    expect(evaluations[0]).toMatchObject({
      label: '02-sft-step-000040-validation-greedy-first12',
      n: 12,
      samplesPerProblem: 1,
      temperature: 0,
      split: 'validation',
    });
    const seeded = JSON.parse(await evaluate('tiny', '--limit', '4', '--seeds', '1,2'));
    expect(seeded.evaluations.map(({ seed }: { seed: number }) => seed)).toEqual([1, 2]);
    const short = JSON.parse(
      await evaluate('tiny', '--limit', '30', '--max-prompt', '10', '--label', 'short'),
    );
    expect(short.evaluations[0].n + short.evaluations[0].sampling.skippedPrompts).toBe(30);
    expect(short.evaluations[0].sampling.skippedPrompts).toBeGreaterThan(0);
    const rounded = JSON.parse(await evaluate('tiny', '--limit', '4', '--weights', 'int8'));
    expect(rounded.evaluations[0]).toMatchObject({ n: 4, sampling: { weights: 'int8' } });
    expect(rounded.evaluations[0].label).toContain('int8');
    await expect(evaluate('tiny', '--limit', '3', '--max-prompt', '2')).rejects.toMatchObject({
      code: 'nothing-to-evaluate',
    });
  });

  test('of a plain folder needs a task, and writes where it is told', async () => {
    const folder = join(run, '02-sft', 'checkpoints', 'step-000040');
    const copy = join(runs, 'model');
    cpSync(folder, copy, { recursive: true });
    await expect(evaluate(copy)).rejects.toMatchObject({ code: 'no-task' });
    const out = join(runs, 'out');
    const words = [
      '--task',
      'game24',
      '--samples',
      '2',
      '--max-completion',
      '40',
      '--seeds',
      '3',
      '--limit',
      '5',
    ];
    await evaluate(copy, ...words, '--set', 'compute.dtype=f32', '--out', out, '--label', 'plain');
    const own = readEvaluation(join(run, 'evaluations', 'sft.json'));
    expect(readEvaluation(join(out, 'plain.json')).problems).toEqual(own.problems.slice(0, 5));
  });

  test('refuses to mix settings and to overwrite what a stage wrote', async () => {
    await evaluate('tiny', '--limit', '4', '--label', 'mixed');
    await expect(evaluate('tiny', '--limit', '5', '--label', 'mixed')).rejects.toMatchObject({
      code: 'evaluation-differs',
      message: expect.stringContaining('limit was 4 and is 5'),
    });
    await evaluate('tiny', '--limit', '5', '--label', 'mixed', '--fresh');
    await expect(evaluate('tiny', '--label', 'sft')).rejects.toMatchObject({ code: 'evaluation-exists' });
    const clash = { code: 'evaluate-options' };
    await expect(evaluate('tiny', '--greedy', '--samples', '4')).rejects.toMatchObject(clash);
    await expect(evaluate('tiny', '--out', join(runs, 'rows.json'))).rejects.toMatchObject(clash);
    expect(existsSync(join(runs, 'rows.json'))).toBe(false);
    const wrong = [
      ['--label', 'a b/c'],
      ['--temperature', '-1'],
      ['--top-p', '3'],
    ];
    const before = readdirSync(join(run, 'evaluations'));
    for (const words of wrong)
      await expect(evaluate('tiny', ...words)).rejects.toMatchObject({ code: 'commander.invalidArgument' });
    expect(readdirSync(join(run, 'evaluations'))).toEqual(before);
  });

  test('of a stage of a run, and of a step of it', async () => {
    const first = async (name: string): Promise<string> =>
      JSON.parse(await evaluate(name, '--limit', '2')).evaluations[0].checkpoint;
    expect(await first('tiny:sft')).toBe('02-sft/checkpoints/step-000040');
    expect(await first('tiny:02-sft:20')).toBe('02-sft/checkpoints/step-000020');
    await expect(first('tiny:sft:7')).rejects.toMatchObject({ code: 'no-checkpoint' });
    await expect(first('tiny:grpo')).rejects.toMatchObject({
      code: 'stage-selection',
      message: expect.stringContaining('01-prepare, 02-sft'),
    });
  });

  test('of all checkpoints draws a curve', async () => {
    const printed = JSON.parse(await evaluate('tiny', '--all-checkpoints', '--limit', '6'));
    const checkpoints = printed.evaluations.map(({ checkpoint }: { checkpoint: string }) => checkpoint);
    expect(checkpoints).toEqual([
      '01-prepare/checkpoints/step-000000',
      '02-sft/checkpoints/step-000020',
      '02-sft/checkpoints/step-000040',
    ]);
    expect(readFileSync(printed.curve, 'utf8')).toContain('aria-label="Held-out problems by training step');
    // The best model of a stage is kept apart, and is one more where its step is not among the others.
    const best = (step: string): string => join('02-sft', 'best', 'checkpoints', `step-${step}`);
    for (const step of ['000030', '000040'])
      cpSync(join(run, '02-sft', 'checkpoints', 'step-000040'), join(run, best(step)), { recursive: true });
    const targets = await findTargets('tiny', { runsDir: runs, allCheckpoints: true });
    rmSync(join(run, '02-sft', 'best'), { recursive: true });
    expect(targets.map(({ checkpoint }) => checkpoint)).toEqual(checkpoints.toSpliced(2, 0, best('000030')));
    expect(targets.map(({ name }) => name)).toContain('02-sft-best-step-000030');
  });

  test('gives the distance to other models', async () => {
    const checkpoint = (name: string): string => join(run, name);
    const printed = JSON.parse(
      await evaluate(
        'tiny',
        ...['--limit', '4', '--label', 'far'],
        ...['--against', checkpoint('02-sft/checkpoints/step-000020')],
        ...['--against', checkpoint('02-sft/checkpoints/step-000040')],
      ),
    );
    expect(printed.distances).toHaveLength(3);
    const [near, same, back] = printed.distances;
    expect(same).toMatchObject({ klPq: 0, js: expect.closeTo(0, 10), top1Agreement: 1 });
    expect(same.flatCosine).toBeCloseTo(1, 6);
    expect(near.klPq).toBeGreaterThan(0.001);
    expect(near.klPq).toBeCloseTo(back.klQp, 6);
    expect(near.klQp).toBeCloseTo(back.klPq, 6);
    const lines = readFileSync(join(run, 'evaluations', 'far.distances.jsonl'), 'utf8')
      .trim()
      .split('\n');
    expect(lines).toHaveLength(12);
    const first = JSON.parse(lines[0]!);
    const rows = readRows(join(run, 'evaluations', 'far.rows.jsonl'));
    expect(first.klPq).toHaveLength(rows[0]!.completionIds!.length);
    // The same evaluation again keeps its token ids and its distances; one without ids cannot be compared.
    const again = JSON.parse(await evaluate('tiny', '--limit', '4', '--label', 'far'));
    expect(again.evaluations[0].distances).toEqual(printed.distances);
    await evaluate('tiny', '--limit', '4', '--label', 'plain');
    const compared = evaluate('tiny', '--limit', '4', '--label', 'plain', '--against', 'tiny:sft');
    await expect(compared).rejects.toMatchObject({ code: 'no-token-ids' });
  });

  test('names what it is compared with before it samples', async () => {
    const words = ['--label', 'never', '--against', 'nosuch'];
    await expect(evaluate('tiny', ...words)).rejects.toMatchObject({ category: 'usage' });
    expect(readdirSync(join(run, 'evaluations')).filter((file) => file.includes('never'))).toEqual([]);
  });
});

describe('what is made of evaluations', () => {
  test('analysis of the rows that the run itself kept, with the table of the game', async () => {
    const { cells, samples, errors, game24 } = JSON.parse(await reckon('analyze', 'tiny:sft', '--json'));
    expect(samples).toBe(200);
    expect(cells.both + cells.formatOnly + cells.answerOnly + cells.neither).toBe(200);
    const wrong = errors.reduce((sum: number, { count }: { count: number }) => sum + count, 0);
    expect(wrong).toBe(200 - cells.both - cells.answerOnly);
    expect(game24[1].slice(0, 2)).toEqual(['all', '200']);
    expect(await reckon('analyze', 'tiny:sft')).toMatch(/format not kept, answer wrong +\d+ +\d/);
    await expect(reckon('analyze', 'tiny:none')).rejects.toMatchObject({ code: 'no-evaluation' });
  });

  test('an export that compares equal to what it came from', async () => {
    const out = join(runs, 'answers.jsonl');
    expect(await reckon('export', 'answers', 'tiny:sft', '--out', out)).toContain('200 answers of tiny:sft');
    expect(readRows(out)).toHaveLength(200);
    const { shared, pairs } = JSON.parse(await reckon('compare', 'tiny:sft', out, '--json'));
    expect(shared).toBe(100);
    expect(pairs[0]).toMatchObject({
      difference: { difference: 0, low: 0, high: 0 },
      won: [],
      lost: [],
      adjustedP: 1,
    });
    expect(await reckon('compare', 'tiny:sft', out)).toContain('100 shared problems.');
    await expect(reckon('compare', out)).rejects.toMatchObject({ code: 'too-few-sets' });
    await expect(reckon('compare', out, 'nothing')).rejects.toMatchObject({ code: 'no-answers' });
  });

  test('a diagnosis in sentences', async () => {
    const { findings, facts } = JSON.parse(await reckon('diagnose', 'tiny', '--json'));
    expect(findings).toEqual([]);
    expect(facts).toMatchObject([{ stage: '02-sft', steps: 40, learningEfficiency: null }]);
    expect(await reckon('diagnose', 'tiny')).toContain('No rule found anything wrong with the training.');
  });
});

describe('an evaluation that was cut off', () => {
  let target: EvaluationTarget;
  const request = (label: string): EvaluationRequest => ({
    label,
    out: join(runs, 'resumed'),
    recipe: parseRecipe(RECIPE, 'recipe.yaml'),
    split: 'test',
    samples: 2,
    temperature: 1,
    topP: 1,
    seed: 3,
    maxCompletionTokens: 24,
    maxPromptTokens: null,
    limit: 23,
    batch: 8,
    tokenizer: null,
    keepIds: true,
    fresh: false,
  });
  const rowsText = (label: string): string =>
    readFileSync(evaluationFiles(join(runs, 'resumed'), label).rows, 'utf8');
  const quiet = { stream: { write: () => undefined }, quiet: true };

  beforeAll(async () => {
    target = (await findTargets('tiny', { runsDir: runs }))[0]!;
    await evaluateModel(target, request('whole'), { ...quiet, stopRequested: () => false });
  });

  test('goes on to the same rows, wherever it was stopped', async () => {
    const counts: number[] = [];
    for (const after of [0, 1, 13, 30, 60, 100]) {
      let calls = 0;
      const label = `stopped-${after}`;
      const stopped = await evaluateModel(target, request(label), {
        ...quiet,
        stopRequested: () => ++calls > after,
      });
      expect(stopped).toBeNull();
      const { result, rows, samples } = evaluationFiles(join(runs, 'resumed'), label);
      expect(existsSync(result)).toBe(false);
      const judged = readRows(rows).length;
      const waiting = existsSync(samples) ? readJsonl(samples, (one) => one as { problemId: string }) : [];
      expect([judged % 2, waiting.length % 2]).toEqual([0, 0]);
      counts.push(judged / 2 + waiting.length / 2);
      await evaluateModel(target, request(label), { ...quiet, stopRequested: () => false });
      expect(rowsText(label)).toBe(rowsText('whole'));
      expect(existsSync(samples)).toBe(false);
    }
    expect(new Set(counts).size).toBeGreaterThan(3);
  });

  test('and samples no problem again whose completions were kept', async () => {
    let calls = 0;
    const stopRequested = (): boolean => ++calls > 20;
    const all = { ...request('kept'), batch: 512 };
    await evaluateModel(target, all, { ...quiet, stopRequested });
    const { samples } = evaluationFiles(join(runs, 'resumed'), 'kept');
    const waiting = readJsonl(samples, (one) => one as { problemId: string; text: string; logps: [] });
    expect(waiting.length).toBeGreaterThan(0);
    expect(waiting.flatMap(({ logps }) => logps)).toEqual([]);
    const marked = waiting.map((one) => JSON.stringify({ ...one, text: `kept ${one.text}` }));
    writeFileSync(samples, `${marked.join('\n')}\n{"problemId":"torn`);
    await evaluateModel(target, all, { ...quiet, stopRequested: () => false });
    const ids = new Set(waiting.map(({ problemId }) => problemId));
    const rows = readRows(evaluationFiles(join(runs, 'resumed'), 'kept').rows);
    for (const { problemId, completion } of rows)
      expect(completion.startsWith('kept ')).toBe(ids.has(problemId));
  });

  test('and where it was killed in the middle of a line, or had nothing left to do', async () => {
    const label = 'killed';
    const files = evaluationFiles(join(runs, 'resumed'), label);
    await evaluateModel(target, request(label), { ...quiet, stopRequested: () => false });
    for (const keep of [0.3, 0.65, 0.99, 1]) {
      truncateSync(files.rows, Math.floor(keep * rowsText('whole').length));
      rmSync(files.result);
      const again = await evaluateModel(target, request(label), { ...quiet, stopRequested: () => false });
      expect(rowsText(label)).toBe(rowsText('whole'));
      const { seconds: _, label: _label, rows: _rows, ...numbers } = again!;
      expect(
        readEvaluation(evaluationFiles(files.rows.replace(/\/[^/]*$/, ''), 'whole').result),
      ).toMatchObject(numbers);
    }
    writeFileSync(files.settings, '{}');
    await expect(
      evaluateModel(target, request(label), { ...quiet, stopRequested: () => false }),
    ).rejects.toMatchObject({ code: 'evaluation-differs' });
  });
});
