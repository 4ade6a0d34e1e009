/** Owns the tests of the 24-game report: lines, difficulty, the table. */

import { describe, expect, test } from 'vitest';
import type { EvaluationRow } from '../../src/evaluate/rows.ts';
import { difficultyOf, game24Lines, game24Table } from '../../src/report/game24.ts';

describe('lines of a completion', () => {
  const lines = (text: string, numbers = [2, 8, 12, 12]) => game24Lines(numbers, text, true);

  test('of a trace', () => {
    expect(lines('12/2=6 8 12\n8-6=2 12\n12*2=24\n#12*(8-(12/2))')).toEqual({
      format: 'trace',
      lines: 4,
      rollbacks: 0,
      invalid: 0,
      repeated: 0,
    });
    const slips = lines('12-12=0 2 8\n0*2=0 8\nx\n12/2=7 8 12\n12/2=7 8 12\n#1');
    expect(slips).toMatchObject({ rollbacks: 1, repeated: 1 });
    expect(slips.invalid).toBeGreaterThanOrEqual(3);
  });

  test("of LLM4Game24's search, in its three formats", () => {
    const v2 =
      '(12) / (2) = 6, left: 6, 8, 12\nroll back, left: 2, 8, 12, 12\n(8) - (6) = 3, left: 3, 12\nreach 24! expression: 24';
    expect(lines(v2)).toEqual({ format: 'v2', lines: 4, rollbacks: 1, invalid: 1, repeated: 0 });
    expect(lines('(12) / (2) = 6, left: 12 / 2 = 6, 8, 12')).toMatchObject({ format: 'v3', invalid: 0 });
    expect(lines('(12) / (2) = 6, left: 6, 8, 12\nwhat')).toMatchObject({ format: 'v1', invalid: 1 });
  });
});

describe('difficulty', () => {
  test('by exact search', () => {
    expect(difficultyOf([3, 3, 8, 8])).toBe('fractions needed');
    expect(difficultyOf([1, 5, 5, 5])).toBe('fractions needed');
    expect(difficultyOf([1, 2, 3, 4])).toBe('many ways');
    expect(difficultyOf([6, 6, 6, 6])).not.toBe('fractions needed');
    expect(difficultyOf([4, 4, 10, 10])).toBe('few ways');
  });
});

describe('the table', () => {
  const row = (id: string, completion: string, correct: boolean): EvaluationRow => ({
    problemId: id,
    sampleIndex: 0,
    question: id,
    prompt: id,
    completion,
    solution: '24',
    answer: null,
    reward: Number(correct),
    parts: {},
    verdict: correct ? 'correct' : 'incorrect',
    reason: '',
    formatOk: correct,
    stopReason: 'eos',
    tokens: completion.length,
  });

  test('groups by format and difficulty', () => {
    const rows = [
      row('game24/1-2-3-4', '1*2=2 3 4\n2*3=6 4\n6*4=24\n#1*2*3*4', true),
      row('game24/3-3-8-8', '8/3=8:3 3 8\nx\n#8', false),
      row('game24/3-3-8-8', '(8) / (3) = 8/3, left: 8/3, 3, 8\nreach 24! expression: 8', false),
    ];
    const table = game24Table(rows)!;
    expect(table[0]).toContain('roll-backs');
    expect(table.slice(1).map(([name, samples, right]) => [name, samples, right])).toEqual([
      ['all', '3', '33.3 %'],
      ['format trace', '2', '50.0 %'],
      ['format v1', '1', '0.0 %'],
      ['many ways', '1', '100.0 %'],
      ['fractions needed', '2', '0.0 %'],
    ]);
  });

  test('is only for rows of the game', () => {
    expect(game24Table([row('gsm8k/1', 'x', false)])).toBeNull();
    expect(game24Table([])).toBeNull();
  });
});
