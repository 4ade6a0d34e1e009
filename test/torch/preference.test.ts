import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PreferencePair } from '../../src/data/training-rows.ts';
import { needsReference, type PreferenceObjective } from '../../src/losses/preference-names.ts';
import type { Decoder } from '../../src/models/index.ts';
import { game24Task, type ScoredGroup, scoreGroups } from '../../src/rewards/index.ts';
import { Tokenizer } from '../../src/text/index.ts';
import { cutMicroBatches, type MicroBatch } from '../../src/train/micro-batches.ts';
import { packMicroBatches } from '../../src/train/packed-batches.ts';
import {
  encodePair,
  firstErrorPairs,
  mismatchedSequences,
  outcomePairs,
  pairSequences,
  readPairs,
} from '../../src/train/pairs.ts';
import { type ObjectiveOptions, pairObjective } from '../../src/train/preference-objective.ts';
import { backwardThroughSequenceLogps, sequenceLogps } from '../../src/train/sequence-logps.ts';
import { readJsonl } from '../../src/util/jsonl.ts';
import { Rng } from '../../src/util/rng.ts';
import { Harness, recipeWith } from './stage-harness.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel, tokenizer } from './tiny.ts';

const objectives: readonly PreferenceObjective[] = [
  ...(['sigmoid', 'sigmoid_norm', 'hinge', 'ipo', 'robust', 'exo_pair', 'discopop', 'nca_pair'] as const),
  ...(['bco_pair', 'sppo_hard', 'apo_zero', 'apo_down', 'aot', 'aot_unpaired', 'sft'] as const),
  ...(['simpo', 'cpo', 'orpo', 'kto'] as const),
];

function optionsOf(objective: PreferenceObjective): ObjectiveOptions {
  return {
    objective,
    beta: 0.2,
    labelSmoothing: 0.1,
    gamma: 0.3,
    nllWeight: 0.5,
    desirableWeight: 1.2,
    undesirableWeight: 0.8,
  };
}

const rng = new Rng({ seed: 8, purpose: 'test' });
const word = (length: number) => Array.from({ length }, () => 3 + Math.floor(rng.uniform() * 20));
const pairs: PreferencePair[] = Array.from({ length: 6 }, (_, i) => ({
  promptIds: [1, ...word(3 + i)],
  chosenIds: word(2 + ((i * 5) % 9)),
  rejectedIds: word(1 + ((i * 7) % 11)),
}));
const sequences = pairSequences(pairs);
const lengths = sequences.map(({ completionIds }) => completionIds.length);

/** The loss of the pairs in these micro-batches; the gradient stays in the policy. */
function lossOf(
  policy: Decoder,
  reference: Decoder,
  objective: PreferenceObjective,
  batches: readonly MicroBatch[],
): number {
  const batch = {
    lengths,
    reference: needsReference(objective) ? sequenceLogps(reference, sequences, batches) : null,
    zeroPoint: objective === 'kto' ? 0.7 : 0,
  };
  return backwardThroughSequenceLogps(
    policy,
    sequences,
    batches,
    (sums_S) => pairObjective(sums_S, batch, optionsOf(objective)).loss,
  ).loss;
}

describe('preference losses', () => {
  assertNoLeaks();

  it.each(objectives)('%s does not depend on the cut into micro-batches', (objective) => {
    using policy = tinyModel();
    using other = tinyModel({}, 'f32', 2);
    using reference = other.snapshot();
    const whole = lossOf(policy, reference, objective, cutMicroBatches(sequences, 10_000, 0));
    const expected = takeGradients(policy);
    const size = Math.max(...[...expected.values()].flatMap((values) => [...values].map(Math.abs)));
    expect(size).toBeGreaterThan(0);
    for (const batches of [
      cutMicroBatches(sequences, 1, 0),
      cutMicroBatches(sequences, 60, 0),
      packMicroBatches(sequences, 50, 0),
      packMicroBatches(sequences, 10_000, 0),
    ]) {
      expect(Math.abs(lossOf(policy, reference, objective, batches) / whole - 1)).toBeLessThan(1e-5);
      for (const [name, gradient] of takeGradients(policy))
        expect(largestDifference(gradient, expected.get(name)!)).toBeLessThan(1e-5 * Math.max(1, size));
    }
  });

  it('begin at a ratio of 1 where the reference is the policy itself', () => {
    using policy = tinyModel();
    using reference = policy.snapshot();
    for (const budget of [40, 10_000]) {
      const batches = cutMicroBatches(sequences, budget, 0);
      const values = sequenceLogps(reference, sequences, batches);
      expect([...sequenceLogps(policy, sequences, batches)]).toEqual([...values]);
      const batch = { lengths, reference: values, zeroPoint: 0 };
      const plain = { ...optionsOf('sigmoid'), labelSmoothing: 0, nllWeight: 0 };
      const { loss } = backwardThroughSequenceLogps(policy, sequences, batches, (sums_S) => {
        const { loss, metrics } = pairObjective(sums_S, batch, plain);
        expect(metrics).toMatchObject({ 'preference/margin': 0, 'preference/accuracy': 0 });
        return loss;
      });
      expect(loss).toBe(Math.fround(Math.LN2));
      takeGradients(policy);
    }
  });

  it('sum log-probabilities as one sequence at a time gives them', () => {
    using policy = tinyModel();
    const all = sequenceLogps(policy, sequences, cutMicroBatches(sequences, 64, 0));
    const alone = sequences.map((one) => sequenceLogps(policy, [one], cutMicroBatches([one], 64, 0))[0]!);
    expect(largestDifference(all, alone)).toBeLessThan(1e-4);
  });
});

const task = game24Task(24);
const numbers = '4 4 6 8\n';
const right = '4+8=12 4 6\n6-4=2 12\n12*2=24\n#(4+8)*(6-4)';
const wrongSecond = '4+8=12 4 6\n6-4=3 12\n12*3=36\n#(4+8)*(6-4)*1';

/** A group of completions of one problem, as the engine would give them. */
async function groupOf(...texts: string[]): Promise<ScoredGroup> {
  const problem = { id: 'p', question: '4 4 6 8', reference: '', meta: { numbers: [4, 4, 6, 8] } };
  const promptIds = [1, ...tokenizer.encode(numbers)];
  const rollouts = texts.map((text, sampleIndex) => ({
    problemId: 'p',
    sampleIndex,
    promptIds,
    completionIds: [...tokenizer.encode(text), 2],
    logps: [],
    samplingLogps: [],
    stopReason: 'eos' as const,
    text,
    policyStep: 0,
  }));
  const [group] = await scoreGroups(task, [], [{ problem, rollouts }]);
  return group!;
}

describe('pairs of rollouts', () => {
  it('set correct against incorrect completions, none of them twice', async () => {
    const group = await groupOf(right, right, wrongSecond, '#4', '#4', right.replace('#', 'x\n#'));
    const found = outcomePairs(group, 4, rng);
    expect(found.length).toBe(2);
    const correct = (ids: readonly number[]) =>
      task.judge(group.problem, tokenizer.decode(ids)).judgement.verdict === 'correct';
    for (const { promptIds, chosenIds, rejectedIds } of found) {
      expect(tokenizer.decode(promptIds)).toBe(numbers);
      expect([correct(chosenIds), correct(rejectedIds)]).toEqual([true, false]);
    }
    expect(new Set(found.map(({ chosenIds }) => chosenIds.join())).size).toBe(2);
    expect(outcomePairs(group, 1, rng).length).toBe(1);
    expect(outcomePairs(await groupOf(right, right), 4, rng)).toEqual([]);
  });

  it('set a right line against the first wrong one, after the same ids', async () => {
    const group = await groupOf(right, wrongSecond, wrongSecond, '4+8=13 4 6\n#4');
    const found = firstErrorPairs(task, tokenizer, group, 4, rng);
    expect(found.length).toBe(2);
    expect(tokenizer.decode(found[0]!.promptIds)).toBe(`${numbers}4+8=12 4 6\n`);
    expect(tokenizer.decode(found[0]!.rejectedIds)).toBe('6-4=3 12\n');
    const chosen = tokenizer.decode(found[0]!.chosenIds);
    expect(chosen).toMatch(/^\S+=\d+ \d+\n$/);
    expect(found[0]!.chosenIds.at(-1)).not.toBe(2);
    expect(tokenizer.decode(found[1]!.promptIds)).toBe(numbers);
    expect(tokenizer.decode(found[1]!.rejectedIds)).toBe('4+8=13 4 6\n');
    expect(firstErrorPairs(task, tokenizer, group, 1, rng).length).toBe(1);
  });

  it('end with the end of the sequence where the line does', async () => {
    const group = await groupOf(right.replace('#(4+8)*(6-4)', '#4+8'));
    const [pair] = firstErrorPairs(task, tokenizer, group, 4, rng);
    expect(tokenizer.decode(pair!.chosenIds)).toBe('#(4+8)*(6-4)');
    expect([pair!.chosenIds.at(-1), pair!.rejectedIds.at(-1)]).toEqual([2, 2]);
  });

  it('put completions under prompts of other pairs for the zero point of KTO', () => {
    const moved = mismatchedSequences(pairs, 10_000);
    expect(moved.map(({ completionIds }) => completionIds)).toEqual(
      sequences.map(({ completionIds }) => completionIds),
    );
    expect(moved[0]!.promptIds).toEqual(pairs[1]!.promptIds);
    expect(moved.at(-1)!.promptIds).toEqual(pairs[0]!.promptIds);
    expect(mismatchedSequences(pairs, 12).length).toBeLessThan(12);
  });

  it('pass over pairs of the same prompt there, which belong together', () => {
    const [first, second] = [pairs[0]!, { ...pairs[1]!, promptIds: pairs[0]!.promptIds }];
    const moved = mismatchedSequences([first, second, pairs[2]!], 10_000);
    const [other, same] = [pairs[2]!.promptIds, first.promptIds];
    expect(moved.map(({ promptIds }) => promptIds)).toEqual([other, other, same, other, other, same]);
    expect(mismatchedSequences([first, second], 10_000)).toEqual([]);
  });

  it('refuse an empty text where the tokenizer puts no token of its own', () => {
    const bare = new Tokenizer({
      ...tokenizer.files,
      config: { tokenizer_class: 'PreTrainedTokenizerFast' },
    });
    const text = { prompt: '1 2', chosen: '3', rejected: '4' };
    expect(encodePair(bare, text).rejectedIds).toEqual(tokenizer.encode('4'));
    expect(encodePair(tokenizer, { ...text, prompt: '' }).promptIds).toEqual([tokenizer.bosId]);
    for (const key of ['prompt', 'chosen', 'rejected'])
      expect(() => encodePair(bare, { ...text, [key]: '' })).toThrow(/at least one token/);
  });
});

describe('the dpo stage on a file', () => {
  const harness = new Harness();
  const file = join(harness.folder, 'pairs.jsonl');
  const stage = (more: string) =>
    recipeWith(
      `- { type: dpo, steps: 8, pairsFile: ${file}, optimizerBatch: 4, microBatchTokens: 256, learningRate: 1.0e-3, ${more} }`,
    );

  beforeAll(async () => {
    const lines = [1, 2, 3, 4, 5, 6].map((i) => ({
      prompt: `${i} 4 6 8\n`,
      chosen: `${i}+8=${i + 8} 4 6\n`,
      rejected: `${i}*8=${i} 6 4\nx`,
    }));
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await harness.prepare(stage(''));
  });
  afterAll(() => harness[Symbol.dispose]());

  it('learns to prefer, and a reference that was computed before gives the same', async () => {
    expect(await harness.run(stage(''), 'live')).toBe('done');
    expect(await harness.run(stage('precompute: true'), 'precomputed')).toBe('done');
    const [live, before] = [harness.metrics('live'), harness.metrics('precomputed')];
    expect(live[0]!['loss']).toBeCloseTo(Math.LN2, 6);
    expect(Number(live.at(-1)!['loss'])).toBeLessThan(0.6);
    expect(live.at(-1)!['preference/accuracy']).toBe(1);
    live.forEach((row, i) => {
      expect(Math.abs(Number(row['loss']) - Number(before[i]!['loss']))).toBeLessThan(1e-4);
    });
  });

  it.each(['simpo', 'orpo', 'kto', 'ipo'])('learns by %s', async (objective) => {
    expect(await harness.run(stage(`objective: ${objective}`), objective)).toBe('done');
    const rows = harness.metrics(objective);
    expect(Number(rows.at(-1)!['preference/margin'])).toBeGreaterThan(Number(rows[0]!['preference/margin']));
    expect(Number(rows.at(-1)!['loss'])).toBeLessThan(Number(rows[0]!['loss']));
  });

  it('makes pairs of its own completions that are read back with the same ids', async () => {
    const own = recipeWith(
      '- { type: dpo, steps: 2, promptsPerStep: 8, groupSize: 4, compare: first-error, learningRate: 1.0e-3 }',
    );
    expect(await harness.run(own, 'own')).toBe('done');
    const path = join(harness.folder, 'own', 'rollouts', 'pairs.jsonl');
    const written = readJsonl(path, (value) => value as PreferencePair);
    expect(written.length).toBeGreaterThan(4);
    const keys = ({ promptIds, chosenIds, rejectedIds }: PreferencePair) => ({
      promptIds,
      chosenIds,
      rejectedIds,
    });
    expect(readPairs(path, tokenizer)).toEqual(written.map(keys));
    for (const pair of written) expect(pair.chosenIds).not.toEqual(pair.rejectedIds);
  });

  it('says which line of a file is no pair', async () => {
    writeFileSync(file, '{"prompt": "1 4 6 8\\n", "chosen": "x"}\n');
    await expect(harness.run(stage(''), 'broken')).rejects.toThrow(
      /pairs\.jsonl.*1.*prompt, chosen and rejected as text/,
    );
  });
});
