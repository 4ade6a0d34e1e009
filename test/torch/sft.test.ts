import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../src/models/index.ts';
import { encodePrompt } from '../../src/prompts/index.ts';
import { Tokenizer } from '../../src/text/index.ts';
import { accumulateCrossEntropy } from '../../src/train/cross-entropy.ts';
import { cutMicroBatches, paddingShare, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { packMicroBatches } from '../../src/train/packed-batches.ts';
import { sequenceLogps } from '../../src/train/sequence-logps.ts';
import {
  readSupervised,
  SupervisedRows,
  sequenceOf,
  wholeSequence,
} from '../../src/train/supervised-rows.ts';
import { Rng } from '../../src/util/rng.ts';
import { mean } from '../../src/util/statistics.ts';
import { Harness, recipeWith } from './stage-harness.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel, tokenizer } from './tiny.ts';

const rng = new Rng({ seed: 21, purpose: 'test' });
const word = (length: number) => Array.from({ length }, () => 3 + Math.floor(rng.uniform() * 20));
const sequences: TrainingSequence[] = Array.from({ length: 7 }, (_, i) => {
  const completionIds = word(2 + ((i * 5) % 8));
  const learned = completionIds.map((_, t) => (t + i) % 3 !== 0);
  return { promptIds: [1, ...word(2 + i)], completionIds, ...(i % 2 === 0 ? { learned } : {}) };
});

describe('supervised losses', () => {
  assertNoLeaks();

  it.each(['nll', 'dft'] as const)('%s does not depend on the cut into micro-batches', (kind) => {
    using policy = tinyModel();
    const sumsOf = (budget: number) =>
      accumulateCrossEntropy(policy, cutMicroBatches(sequences, budget, 0), { kind });
    const whole = sumsOf(10_000);
    const expected = takeGradients(policy);
    const size = Math.max(...[...expected.values()].flatMap((values) => [...values].map(Math.abs)));
    expect(whole.targets).toBe(
      sequences.reduce((sum, one) => sum + (one.learned ?? one.completionIds).filter(Boolean).length, 0),
    );
    for (const budget of [1, 25, 60]) {
      const cut = sumsOf(budget);
      expect(Math.abs(cut.loss / whole.loss - 1)).toBeLessThan(1e-5);
      for (const [name, gradient] of takeGradients(policy))
        expect(largestDifference(gradient, expected.get(name)!)).toBeLessThan(1e-5 * Math.max(1, size));
    }
  });

  it('is the same where sequences share rows, with less padding', () => {
    using policy = tinyModel();
    const plain = cutMicroBatches(sequences, 10_000, 0);
    const { loss } = accumulateCrossEntropy(policy, plain);
    const expected = takeGradients(policy);
    for (const budget of [1, 40, 10_000]) {
      const packed = packMicroBatches(sequences, budget, 0);
      expect(packed.flatMap((batch) => [...batch.order]).toSorted((a, b) => a - b)).toEqual([
        ...sequences.keys(),
      ]);
      expect(packed.some((batch) => batch.order.length > batch.height)).toBe(true);
      expect(paddingShare(packed)).toBeLessThan(paddingShare(plain));
      expect(Math.abs(accumulateCrossEntropy(policy, packed).loss / loss - 1)).toBeLessThan(1e-5);
      for (const [name, gradient] of takeGradients(policy))
        expect(largestDifference(gradient, expected.get(name)!)).toBeLessThan(1e-5);
    }
  });

  it('packs batches of any lengths into rectangles of few shapes', () => {
    const shapes = new Set<string>();
    const padding: number[] = [];
    for (let batch = 0; batch < 200; batch++) {
      const longest = 60 + rng.integer(170);
      const lengths = Array.from({ length: 24 }, () => 4 + rng.integer(longest));
      const packed = packMicroBatches(
        lengths.map((length) => ({ promptIds: [1, 2, 3], completionIds: new Array<number>(length).fill(4) })),
        2048,
        0,
      );
      for (const { height, width } of packed) shapes.add(`${height} x ${width}`);
      padding.push(paddingShare(packed));
    }
    // Lengths of 16 an octave for all of them would make more than 130.
    expect(shapes.size).toBeLessThan(110);
    expect(mean(padding)).toBeLessThan(0.035);
  });

  it('gives every packed sequence the log-probability that it has alone', () => {
    using policy = tinyModel();
    const packed = sequenceLogps(policy, sequences, packMicroBatches(sequences, 60, 0));
    const alone = sequences.map((one) => sequenceLogps(policy, [one], cutMicroBatches([one], 60, 0))[0]!);
    expect(largestDifference(packed, alone)).toBeLessThan(1e-5);
  });

  it('weighs a token by its own probability in DFT', () => {
    using policy = tinyModel();
    const one = [{ promptIds: [1, 5, 6], completionIds: [7] }];
    const batches = cutMicroBatches(one, 10, 0);
    const { loss } = accumulateCrossEntropy(policy, batches);
    const plain = takeGradients(policy);
    const dft = accumulateCrossEntropy(policy, batches, { kind: 'dft' });
    const probability = Math.exp(-loss);
    expect(dft.loss).toBeCloseTo(loss * probability, 6);
    for (const [name, gradient] of takeGradients(policy))
      expect(
        largestDifference(
          gradient,
          plain.get(name)!.map((value) => value * probability),
        ),
      ).toBeLessThan(1e-6);
  });
});

describe('supervised rows', () => {
  const options = { completionOnly: true, assistantOnly: false, maxLength: 100 };

  it('learn the completion and the end of the sequence, or all', () => {
    const example = { prompt: '1 2 3 4\n', completion: '1+2' };
    const row = new SupervisedRows(tokenizer, options).row(example)!;
    expect(tokenizer.decode(row.ids)).toBe('1 2 3 4\n1+2');
    expect([row.ids[0], row.ids.at(-1)]).toEqual([1, 2]);
    expect(row.learned.filter(Boolean).length).toBe(4);
    expect(sequenceOf(row)).toEqual({ promptIds: row.ids.slice(0, 9), completionIds: row.ids.slice(9) });
    expect(sequenceOf(row).promptIds).toEqual(encodePrompt(tokenizer, example.prompt));
    const all = new SupervisedRows(tokenizer, { ...options, completionOnly: false }).row(example)!;
    expect(all.learned.every(Boolean)).toBe(true);
    expect(sequenceOf(all)).toEqual(wholeSequence(sequenceOf(row)));
    const text = new SupervisedRows(tokenizer, options).row({ text: '1+2' })!;
    expect(text.learned).toEqual([true, true, true, true, true]);
    expect(text.ids).toEqual([1, ...tokenizer.encode('1+2'), 2]);
  });

  it('are cut on the right, and left out where nothing is left to learn', () => {
    const example = { prompt: '1 2 3 4\n', completion: '1+2' };
    const row = new SupervisedRows(tokenizer, { ...options, maxLength: 11 }).row(example)!;
    expect([row.ids.length, row.learned.filter(Boolean).length]).toEqual([11, 2]);
    expect(new SupervisedRows(tokenizer, { ...options, maxLength: 9 }).row(example)).toBeNull();
  });

  it('of a file that are cut or left out are counted and told of', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'reckon-rows-')), 'rows.jsonl');
    const example = { prompt: '1 2 3 4\n', completion: '1+2' };
    writeFileSync(
      path,
      [example, { text: '1+2' }, { prompt: '1 2 3 4 5 6\n', completion: '1+2' }]
        .map((row) => JSON.stringify(row))
        .join('\n'),
    );
    const told: string[] = [];
    const rows = readSupervised(path, tokenizer, { ...options, maxLength: 10 }, (line) => told.push(line));
    expect(rows.length).toBe(2);
    expect(told).toEqual([
      `${path}: 1 of 3 rows pass 10 tokens and are cut there`,
      `${path}: 1 of 3 rows hold nothing to learn and are left out`,
    ]);
  });

  it('of a conversation learn all of it, or what the assistant said', () => {
    const template =
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}#{% endgeneration %}{% else %}{{ m.content }}={% endif %}{% endfor %}";
    const { tokenizer: file, config } = tokenizer.files;
    const chatty = new Tokenizer({ tokenizer: file, config: { ...config, chat_template: template } });
    const messages = [
      { role: 'user', content: '1+2' },
      { role: 'assistant', content: '3' },
      { role: 'user', content: '4+5' },
      { role: 'assistant', content: '9' },
    ];
    const rowOf = (assistantOnly: boolean) =>
      new SupervisedRows(chatty, { ...options, assistantOnly }).row({ messages })!;
    expect(chatty.decode(rowOf(false).ids)).toBe('1+2=3#4+5=9#');
    expect(rowOf(false).learned.every(Boolean)).toBe(true);
    const marked = rowOf(true);
    expect(chatty.decode(marked.ids.filter((_, t) => marked.learned[t]))).toBe('3#9#');
    const halves = { prompt: messages.slice(0, 3), completion: messages.slice(3) };
    const last = new SupervisedRows(chatty, options).row(halves)!;
    expect(chatty.decode(last.ids.filter((_, t) => last.learned[t]))).toBe('9#');
  });

  it('of a conversation tell its template the tools and variables of their columns', () => {
    const { tokenizer: file, config } = tokenizer.files;
    const template =
      "{% for t in tools or [] %}{{ t.name }}={% endfor %}{{ sign or '' }}{% for m in messages %}{{ m.content }}#{% endfor %}";
    const chatty = new Tokenizer({ tokenizer: file, config: { ...config, chat_template: template } });
    const path = join(mkdtempSync(join(tmpdir(), 'reckon-rows-')), 'rows.jsonl');
    const textOf = (columns: object) => {
      const messages = [{ role: 'user', content: '1' }];
      writeFileSync(path, JSON.stringify({ messages, ...columns }));
      const [row] = readSupervised(path, chatty, { ...options, completionOnly: false });
      return chatty.decode([...row!.promptIds, ...row!.completionIds]);
    };
    expect(textOf({})).toBe('1#');
    expect(textOf({ tools: [{ name: '7' }] })).toBe('7=1#');
    expect(textOf({ tools: '[{"name": "8"}]' })).toBe('8=1#');
    expect(textOf({ tools: null, chat_template_kwargs: { sign: '+' } })).toBe('+1#');
    expect(() => textOf({ tools: 'add' })).toThrow(/tools as a list or its JSON/);
  });

  it('keep turns that are not learned out of the loss', () => {
    const ids = [1, 5, 6, 7, 8, 9];
    const learned = [false, false, true, false, false, true];
    expect(sequenceOf({ ids, learned })).toEqual({
      promptIds: [1, 5],
      completionIds: [6, 7, 8, 9],
      learned: [true, false, false, true],
    });
  });
});

describe('the sft stage', () => {
  const harness = new Harness();
  const file = join(harness.folder, 'rows.jsonl');
  const stage = (more: string) =>
    recipeWith(`- { type: sft, optimizerBatch: 8, microBatchTokens: 256, ${more} }`);
  const validations = (name: string) =>
    harness
      .metrics(name)
      .filter((row) => row['validation/loss'] !== undefined)
      .map((row) => [row['step'], Number(row['validation/loss'])] as const);

  beforeAll(async () => {
    const lines = Array.from({ length: 20 }, (_, i) => ({
      prompt: `${i} 4 6 8\n`,
      completion: `${i}+8=${i + 8}`,
    }));
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await harness.prepare(stage('steps: 1'));
  });
  afterAll(() => harness[Symbol.dispose]());

  it('measures the validation loss and keeps the model that was best', async () => {
    const wild = 'steps: 12, learningRate: 0.03, schedule: constant, validateEvery: 3, keepBest: true';
    expect(await harness.run(stage(wild), 'wild')).toBe('done');
    const found = validations('wild');
    expect(found.map(([step]) => step)).toEqual([3, 6, 9, 12]);
    const [bestStep] = found.reduce((best, one) => (one[1] < best[1] ? one : best));
    const kept = readdirSync(join(harness.folder, 'wild', 'best', 'checkpoints'));
    expect(kept).toEqual([`step-${String(bestStep).padStart(6, '0')}`]);
    const folder = join(harness.folder, 'wild', 'best', 'checkpoints', kept[0]!);
    using model = loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
    expect(model.headWeight.isFinite().all().item()).toBe(1);
  });

  it('says that there is nothing to measure, before the first step', async () => {
    const recipe = stage('steps: 4, validateEvery: 2, keepBest: true');
    const empty = { ...recipe, task: { ...recipe.task, split: 'seed3' } } as typeof recipe;
    await expect(harness.run(empty, 'nothing to measure')).rejects.toThrow(
      /validateEvery needs sequences to measure, and game24 has no validation problems.*validateEvery: 0/,
    );
    expect(harness.metrics('nothing to measure')).toEqual([]);
    const measured = recipeWith('- { type: evaluate, label: none }');
    const evaluation = { ...measured.evaluation, split: 'validation' } as const;
    await expect(harness.run({ ...measured, evaluation, task: empty.task }, 'evaluated')).rejects.toThrow(
      /evaluation.split is validation, and game24 has no such problems \(train 1262/,
    );
  });

  it('ends early when validations do not improve, at a step that is saved', async () => {
    const wild =
      'steps: 400, learningRate: 0.2, schedule: constant, maxGradNorm: 100, validateEvery: 1, patience: 2';
    expect(await harness.run(stage(wild), 'patient')).toBe('done');
    const losses = validations('patient').map(([, loss]) => loss);
    expect(losses.length).toBeLessThan(400);
    const best = Math.min(...losses.slice(0, -2));
    expect(losses.slice(-2).every((loss) => loss >= best)).toBe(true);
    const saved = `step-${String(losses.length).padStart(6, '0')}`;
    expect(existsSync(join(harness.folder, 'patient', 'checkpoints', saved))).toBe(true);
    // As after a kill between the last checkpoint and the end of the stage.
    const before = harness.essence('patient');
    expect(await harness.run(stage(wild), 'patient')).toBe('done');
    expect(harness.essence('patient')).toEqual(before);
  });

  it('passes over a file as often as it is told', async () => {
    expect(await harness.run(stage(`epochs: 3, dataFile: ${file}, learn: all`), 'epochs')).toBe('done');
    const rows = harness.metrics('epochs');
    // 3 x 20 rows in batches of 8: seven whole ones and one of four.
    expect(rows.length).toBe(8);
    const tokens = rows.map((row) => Number(row['batch/tokens']));
    expect(Math.min(...tokens)).toBe(tokens.at(-1));
    expect(Number(rows.at(-1)!['loss'])).toBeLessThan(Number(rows[0]!['loss']));
  });

  it('stops where the loss is no number, with its batch saved', async () => {
    const broken = stage(`steps: 5, dataFile: ${file}, learningRate: 1.0e+30, schedule: constant`);
    const found = await harness.run(broken, 'broken').catch((error: unknown) => error);
    expect(found).toMatchObject({ code: 'loss-not-finite' });
    const step = harness.metrics('broken').length + 1;
    const batch = JSON.parse(
      readFileSync(join(harness.folder, 'broken', `failed-batch-${step}.json`), 'utf8'),
    );
    expect(batch).toHaveLength(8);
    expect(batch[0].completionIds.length).toBeGreaterThan(0);
  });

  it('ends when its time is over', async () => {
    expect(await harness.run(stage('steps: 1000, timeLimitMinutes: 0.001'), 'timed')).toBe('done');
    const steps = harness.metrics('timed').length;
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThan(1000);
    expect(
      existsSync(join(harness.folder, 'timed', 'checkpoints', `step-${String(steps).padStart(6, '0')}`)),
    ).toBe(true);
  });

  it('ends when a metric no longer improves, at the same step after an interruption', async () => {
    const stalling = stage('steps: 50, earlyStop: { metric: loss, patience: 4, minDelta: 100 }');
    expect(await harness.run(stalling, 'stalled')).toBe('done');
    expect(harness.metrics('stalled').length).toBe(5);
    expect(await harness.run(stalling, 'stalled halves', 3)).toBe('stopped');
    expect(await harness.run(stalling, 'stalled halves')).toBe('done');
    expect(harness.essence('stalled halves')).toEqual(harness.essence('stalled'));
    expect(await harness.run(stalling, 'stalled halves')).toBe('done');
    expect(harness.essence('stalled halves')).toEqual(harness.essence('stalled'));
  });

  it('stopped and resumed keeps the same best model', async () => {
    const wild = stage('steps: 10, learningRate: 0.03, schedule: constant, validateEvery: 2, keepBest: true');
    expect(await harness.run(wild, 'whole')).toBe('done');
    expect(await harness.run(wild, 'halves', 5)).toBe('stopped');
    expect(await harness.run(wild, 'halves')).toBe('done');
    expect(harness.essence('halves')).toEqual(harness.essence('whole'));
    const best = (name: string) => readdirSync(join(harness.folder, name, 'best', 'checkpoints'));
    expect(best('halves')).toEqual(best('whole'));
  });
});
