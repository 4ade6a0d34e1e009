import { describe, expect, it } from 'vitest';
import { grade } from '../../src/rewards/grade/grade.ts';
import {
  arithmeticConsistency,
  arithmeticStatements,
  boxedFormat,
  boxedTagFormat,
  cosineLength,
  groupLength,
  logisticLength,
  nemoRlFormat,
  openR1CodeFormat,
  openR1Format,
  openR1ReasoningSteps,
  openR1TagCount,
  r1ZeroFormat,
  r1ZeroFormatLenient,
  repetitionPenalty,
  softOverlong,
  thinkAnswerFormat,
  trlThinkFormat,
  verifiersThinkFormat,
  wordsOf,
} from '../../src/rewards/index.ts';
import { agreement, type Case, casesOf } from './rewards-cases.ts';

interface Completion {
  readonly completion?: string;
  readonly completion_ids?: readonly number[];
  readonly n_tokens?: number;
  readonly n_chars?: number;
}

/** A chat's assistant turns, or the text itself. */
function turnsOf({ prediction }: Case): string[] {
  if (!Array.isArray(prediction)) return [String(prediction ?? '')];
  const messages = prediction as { role?: string; content: string }[];
  return messages.filter(({ role }) => (role ?? 'assistant') === 'assistant').map(({ content }) => content);
}

const mean = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, one) => sum + one, 0) / values.length;

const option = (row: Case, name: string): number | undefined => row.opts?.[name] as number | undefined;

const FORMATS: Readonly<Record<string, (text: string, row: Case) => number>> = {
  'nemo-rl:format_reward': (text, { opts }) =>
    nemoRlFormat(text, opts?.['think_tag'] as string | undefined, opts?.['answer_tag'] as string | undefined),
  'open-r1:format_reward': openR1Format,
  'open-r1:get_code_format_reward': (text, { opts }) => openR1CodeFormat(text, opts?.['language'] as string),
  'open-r1:reasoning_steps_reward': openR1ReasoningSteps,
  'open-r1:tag_count_reward': openR1TagCount,
  'trl:think_format_reward': trlThinkFormat,
  'verifiers:think_parser.get_format_reward_func': verifiersThinkFormat,
};

async function isCorrect(prediction: string, reference: unknown): Promise<boolean | null> {
  const { verdict } = await grade(prediction, String(reference), { extract: 'prediction' });
  return verdict === 'unverifiable' ? null : verdict === 'correct';
}

async function cosine(row: Case, clamp: boolean, length: number): Promise<unknown> {
  const { completion = '' } = row.prediction as Completion;
  const right = await isCorrect(completion, row.reference);
  return cosineLength(length, right ?? true, {
    maxLength: option(row, 'max_len') ?? 1000,
    wrong: [option(row, 'min_value_wrong') ?? -1, option(row, 'max_value_wrong') ?? -0.5],
    correct: [option(row, 'max_value_correct') ?? 1, option(row, 'min_value_correct') ?? 0.5],
    clamp,
  });
}

function overlong(row: Case): number {
  const { completion_ids: ids, n_tokens: tokens } = row.prediction as Completion;
  return softOverlong(tokens ?? ids!.length, {
    maxLength: option(row, 'max_completion_len')!,
    buffer: option(row, 'soft_punish_cache')!,
  });
}

const repetition = (row: Case, items: readonly (number | string)[]): number =>
  repetitionPenalty(items, { ngram: option(row, 'ngram_size'), maxPenalty: option(row, 'max_penalty') });

const REWARDS: Readonly<Record<string, (row: Case) => unknown>> = {
  'open-r1:get_cosine_scaled_reward': (row) => {
    const { completion = '', n_chars: characters } = row.prediction as Completion;
    return cosine(row, false, characters ?? completion.length);
  },
  'trl:get_cosine_scaled_reward': (row) => {
    const { n_tokens: tokens, completion_ids: ids } = row.prediction as Completion;
    return cosine(row, true, tokens ?? ids!.length);
  },
  'open-r1:get_repetition_penalty_reward': (row) =>
    repetition(row, wordsOf((row.prediction as Completion).completion ?? '')),
  'trl:get_repetition_penalty_reward': (row) => {
    const { completion_ids: ids, completion } = row.prediction as Completion;
    return repetition(row, ids ?? wordsOf(completion!));
  },
  'open-r1:get_soft_overlong_punishment': overlong,
  'trl:get_soft_overlong_punishment': overlong,
  'open-r1:len_reward': async (row) => {
    const texts = row.prediction as string[];
    const references = row.reference as string[];
    const right = await Promise.all(texts.map((text, i) => isCorrect(text, references[i])));
    const rewards = groupLength(
      texts.map((text) => text.length),
      right,
    );
    const { index, value } = row.expected as { index: number; value: number };
    return rewards[index] === value ? row.expected : rewards;
  },
};

describe('published cases of rewards', async () => {
  const formats = casesOf('format');
  const rewards = casesOf('reward');
  const found = [
    ...(await agreement(formats, (row) => {
      const format = FORMATS[row.profile];
      return format ? mean(turnsOf(row).map((text) => format(text, row))) : `no ${row.profile}`;
    })),
    ...(await agreement(rewards, (row) => REWARDS[row.profile]?.(row) ?? `no ${row.profile}`)),
  ];

  it('are there', () => {
    expect([formats.length > 5, rewards.length > 5]).toEqual([true, true]);
  });

  it.each(found)('%s', (_profile, { rows, agreed, wrong }) => {
    expect(agreed / rows, wrong.join('\n')).toBeGreaterThanOrEqual(0.99);
  });
});

describe('formats', () => {
  it.each([
    ['<think>a</think><answer>4</answer>', 1, 0.5],
    ['<think>a</think>\n<answer>\\boxed{4}</answer>\n', 1, 1],
    ['<think>a</think> so <answer>\\boxed{4}</answer>', 0, 1],
    ['<think>\\boxed{4}</think><answer>4</answer>', 1, 0.5],
    ['<think>a</think><answer>4', 0, 0],
    ['<answer>4</answer><think>a</think>', 0, 0],
    ['<think>a<think>b</think></think><answer>4</answer>', 0, 0],
    ['<think>a</think><answer>1</answer><answer>2</answer>', 0, 0],
    ['\\boxed{4}', 0, 0],
    ['', 0, 0],
  ])('%j', (text, paired, boxed) => {
    expect(thinkAnswerFormat(text)).toBe(paired);
    expect(boxedTagFormat(text)).toBe(boxed);
    const behind = text.replace(/^<think>/, '');
    if (behind !== text) {
      expect(thinkAnswerFormat(behind, { opened: true })).toBe(paired);
      expect(boxedTagFormat(behind, { opened: true })).toBe(boxed);
    }
  });

  it('of r1-zero is strict to the space, and its lenient sister is not', () => {
    const of = (text: string) => [r1ZeroFormat(text), r1ZeroFormatLenient(text)];
    expect(of('a</think> <answer>4</answer>')).toEqual([1, 1]);
    expect(of('a</think>\n<answer>4</answer>')).toEqual([0, 1]);
    expect(of('a</think><answer>4</answer>')).toEqual([0, 1]);
    expect(of('a</think>  <answer>4</answer>')).toEqual([0, 1]);
    expect(of('a</think> <answer>4')).toEqual([0, 0]);
    // The literal rule does not ask for an order.
    expect(of('</answer></think> <answer>4')).toEqual([1, 0]);
    expect(of('</think> so </think> <answer>4</answer>')).toEqual([1, 1]);
    expect(of('</think> so <answer>4</answer>')).toEqual([0, 0]);
  });

  it('a box counts where it is closed', () => {
    expect(['\\boxed{4}', '\\boxed{\\frac{1}{2}}', '\\boxed{4', 'boxed{4}'].map(boxedFormat)).toEqual([
      1, 1, 0, 0,
    ]);
    // An escaped brace closes nothing; and the last box counts, not one before it.
    expect(['\\boxed{\\left\\{1}', '\\boxed{1\\}', '\\boxed{4} or \\boxed{5'].map(boxedFormat)).toEqual([
      1, 0, 0,
    ]);
  });
});

describe('lengths', () => {
  it('the logistic is 1 up to the threshold and falls', () => {
    expect(logisticLength(4)).toBe(1);
    expect(logisticLength(24)).toBe(0.5);
    expect(logisticLength(110, { threshold: 100, middle: 10, steepness: 1 })).toBe(0.5);
  });

  it('a group gets what its lengths are to each other', () => {
    expect(groupLength([10, 20, 30], [true, true, true])).toEqual([0.5, 0, -0.5]);
    expect(groupLength([10, 20, 30], [false, null, false])).toEqual([0, 0, -0.5]);
    expect(groupLength([5, 5], [true, false])).toEqual([0, 0]);
    expect(groupLength([], [])).toEqual([]);
  });

  it('repetition refuses a positive penalty', () => {
    expect(() => repetitionPenalty([1], { maxPenalty: 1 })).toThrow('at most 0');
    expect(() => repetitionPenalty([1], { ngram: 0 })).toThrow('1 or more');
    expect(repetitionPenalty([1, 12, 1, 12], { ngram: 2 })).toBeCloseTo(-1 / 3, 12);
    expect(repetitionPenalty([11, 2, 1, 12], { ngram: 2 })).toBe(0);
  });
});

describe('arithmetic along the way', () => {
  it.each([
    ['She eats 3 * 4 = 12 eggs. Then 12 + 5 = 18.', 0.5],
    ['Natalia sold 48/2 = <<48/2=24>>24 clips. 48+24 = <<48+24=72>>72.', 1],
    ['1. 4 + 3 = 7\n- 4 + 3 = 7\n2) 7 - 9 = -2', 1],
    ['It costs $1,000 * 3 = $3,000, so $3,000 / 7 = 428.57.', 1],
    ['10 / 3 = 3.34', 0],
    ['10 / 3 = 3', 0],
    ['0.1 + 0.2 = 0.3', 1],
    ['$3 \\times 4 = 12$ and $2 \\cdot 5 = 11$', 0.5],
    ['2 + 3 = 5 * 4 = 20', 0.5],
    ['99999999999999999999 + 1 = 100000000000000000000', 1],
    ['x = 5, so 2x = 10', null],
    ['5 apples * 3 = 15', null],
    ['20% * 50 = 10', null],
    ['it is == 4 or != 5', null],
    ['no numbers at all', null],
    ['9^9^9^9 = 3', null],
  ])('%j', (text, share) => {
    expect(arithmeticConsistency(text), JSON.stringify(arithmeticStatements(text))).toBe(share);
  });

  it('takes linear time on hostile text', () => {
    const started = process.cpuUsage().user;
    for (const text of [
      '='.repeat(1e6),
      '1+'.repeat(5e5),
      '1='.repeat(2e5),
      '(=('.repeat(1e5),
      ' = '.repeat(1e5),
    ])
      arithmeticStatements(text);
    expect(process.cpuUsage().user - started).toBeLessThan(5_000_000);
  });
});
