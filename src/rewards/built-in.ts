/** Owns the rewards that every task can use, by the names and settings that recipes give them. Sums nothing. */

import type { Problem } from '../data/problem.ts';
import { reasoningOf } from '../data/solutions.ts';
import { logicalConsistency, reasoningScore, reasoningSteps, stepCoverage } from '../text/reasoning.ts';
import { ReckonError } from '../util/errors.ts';
import { searchTraceRewards } from './arith/search-trace.ts';
import { arithmeticConsistency } from './functions/arithmetic-steps.ts';
import {
  boxedFormat,
  boxedTagFormat,
  r1ZeroFormat,
  r1ZeroFormatLenient,
  thinkAnswerFormat,
} from './functions/format.ts';
import { cosineLength, groupLength, logisticLength, softOverlong } from './functions/length.ts';
import { repetitionPenalty, wordsOf } from './functions/repetition.ts';
import type { GroupRewardFunction, RewardFunction, Sample, Score } from './reward.ts';

/** What a built-in reward may be told; each takes some of them. */
export interface RewardSettings {
  /** The prompt has opened `<think>` already. */
  readonly opened?: boolean | undefined;
  /** What lengths and repetitions are counted in. */
  readonly unit?: 'tokens' | 'lines' | 'words' | undefined;
  readonly threshold?: number | undefined;
  readonly middle?: number | undefined;
  readonly steepness?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly buffer?: number | undefined;
  readonly ngram?: number | undefined;
  readonly maxPenalty?: number | undefined;
  /** Rewards of a correct completion at length 0 and at maxLength. */
  readonly correct?: readonly [number, number] | undefined;
  /** Rewards of a wrong completion at length 0 and at maxLength. */
  readonly wrong?: readonly [number, number] | undefined;
  /** Outcome of a wrong expression in the last line of a search. */
  readonly wrongOutcome?: number | undefined;
}

/** What rewards are made for. */
export interface RewardContext {
  /** The task's own test of correctness. */
  readonly correct: RewardFunction;
  /** What `maxLength` is where nobody says. */
  readonly maxCompletionTokens: number;
}

/** One reward as it is used. */
export interface MadeReward {
  readonly score: RewardFunction;
  readonly scoreGroup?: GroupRewardFunction;
}

interface BuiltIn {
  /** The settings that it takes. */
  readonly takes: readonly (keyof RewardSettings)[];
  readonly says: string;
  make(settings: RewardSettings, context: RewardContext): MadeReward;
}

/** A reward of the completion's text alone. */
function ofText(
  takes: BuiltIn['takes'],
  says: string,
  score: (text: string, settings: RewardSettings) => Score,
): BuiltIn {
  return { takes, says, make: (settings) => ({ score: ({ rollout }) => score(rollout.text, settings) }) };
}

/** A reward of the sample. */
function ofSample(
  takes: BuiltIn['takes'],
  says: string,
  score: (sample: Sample, settings: RewardSettings, context: RewardContext) => ReturnType<RewardFunction>,
): BuiltIn {
  return {
    takes,
    says,
    make: (settings, context) => ({ score: (sample) => score(sample, settings, context) }),
  };
}

/** Every built-in reward by name. */
export const builtInRewards: Readonly<Record<string, BuiltIn>> = {
  'think-answer-format': ofText(
    ['opened'],
    '1 for one <think> and one <answer> with nothing around them, else 0',
    thinkAnswerFormat,
  ),
  'boxed-tag-format': ofText(
    ['opened'],
    '0 for unpaired tags, 0.5 for an answer without a box, 1 with one',
    boxedTagFormat,
  ),
  'boxed-format': ofText([], '1 for a closed \\boxed{}, else 0', boxedFormat),
  'r1-zero-format': ofText(
    [],
    '1 for `</think> <answer>` with one space and `</answer>`, else 0',
    r1ZeroFormat,
  ),
  'r1-zero-format-lenient': ofText([], 'r1-zero-format with any space between the tags', r1ZeroFormatLenient),
  'arithmetic-steps': ofText(
    [],
    'share of the stated equations that hold; null where there is none',
    arithmeticConsistency,
  ),
  'seed3-outcome': ofSample(
    ['wrongOutcome'],
    "LLM4Game24's outcome of a search for 24",
    (sample, { wrongOutcome = 0 }) => traceOf(sample, wrongOutcome)?.outcome ?? null,
  ),
  'seed3-process': ofSample(
    [],
    "LLM4Game24's share of right lines in a search for 24",
    (sample) => traceOf(sample)?.process ?? null,
  ),
  'seed3-length': ofSample(
    [],
    "LLM4Game24's logistic reward of few lines",
    (sample) => traceOf(sample)?.length ?? null,
  ),
  'logistic-length': ofSample(
    ['unit', 'threshold', 'middle', 'steepness'],
    '1 up to a length, then down an S to 0',
    ({ rollout }, settings) => logisticLength(lengthIn(rollout, settings.unit ?? 'tokens'), settings),
  ),
  'cosine-length': ofSample(
    ['unit', 'maxLength', 'correct', 'wrong'],
    'short correct and long wrong completions get more, along half a cosine',
    cosineOf,
  ),
  'soft-overlong': ofSample(
    ['unit', 'maxLength', 'buffer'],
    "DAPO's penalty of the last tokens before the limit",
    ({ rollout }, { unit = 'tokens', maxLength, buffer }, { maxCompletionTokens }) => {
      const most = maxLength ?? maxCompletionTokens;
      return softOverlong(lengthIn(rollout, unit), { maxLength: most, buffer: buffer ?? most / 5 });
    },
  ),
  'group-length': {
    takes: ['unit'],
    says: "Kimi k1.5's: the shortest of a group 0.5, the longest -0.5, wrong ones never above 0",
    make: ({ unit = 'tokens' }, { correct }) => {
      const scoreGroup: GroupRewardFunction = async (samples, signal) => {
        const verdicts = await Promise.all(samples.map((sample) => correct(sample, signal)));
        const lengths = samples.map(({ rollout }) => lengthIn(rollout, unit));
        return groupLength(
          lengths,
          verdicts.map((verdict) => (verdict === null ? null : verdict > 0.5)),
        );
      };
      return { scoreGroup, score: async (sample) => (await scoreGroup([sample]))[0]! };
    },
  },
  repetition: ofSample(
    ['unit', 'ngram', 'maxPenalty'],
    'penalty of repeated n-grams of tokens, words or lines',
    ({ rollout }, { unit = 'tokens', ...settings }) => repetitionPenalty(piecesOf(rollout, unit), settings),
  ),
  'step-coverage': ofSample(
    [],
    "share of the worked solution's expressions; null without one",
    ({ problem, rollout }) => coverageOf(problem, rollout.text),
  ),
  'logical-consistency': ofText(
    [],
    'surface signs of ordered reasoning',
    (text) => logicalConsistency(text).overall,
  ),
  'reasoning-quality': ofSample(
    [],
    'correctness, coverage and consistency as the seeds weigh them; null without a worked solution',
    qualityOf,
  ),
};

/** A built-in reward by name; throws `unknown-reward` for any other. */
export function makeBuiltIn(name: string, settings: RewardSettings, context: RewardContext): MadeReward {
  const found = Object.hasOwn(builtInRewards, name) ? builtInRewards[name] : undefined;
  if (found) return found.make(settings, context);
  const message = `expected a reward of the task or one of ${Object.keys(builtInRewards).join(', ')}, found ${name}`;
  throw new ReckonError('recipe', 'unknown-reward', message);
}

async function cosineOf(
  sample: Sample,
  { unit = 'tokens', maxLength, correct, wrong }: RewardSettings,
  context: RewardContext,
): Promise<Score> {
  const verdict = await context.correct(sample);
  if (verdict === null) return null;
  const options = { maxLength: maxLength ?? context.maxCompletionTokens, correct, wrong };
  return cosineLength(lengthIn(sample.rollout, unit), verdict > 0.5, options);
}

async function qualityOf(sample: Sample, _: RewardSettings, context: RewardContext): Promise<Score> {
  const coverage = coverageOf(sample.problem, sample.rollout.text);
  const correctness = await context.correct(sample);
  if (coverage === null) return null;
  const consistency = logicalConsistency(sample.rollout.text).overall;
  return reasoningScore({ coverage, consistency, correctness });
}

function coverageOf(problem: Problem, text: string): Score {
  const solution = problem.meta['solution'];
  if (typeof solution !== 'string') return null;
  return stepCoverage(reasoningSteps(text), reasoningSteps(reasoningOf(solution))).coverage;
}

function traceOf(
  { problem, rollout }: Sample,
  wrongOutcome = 0,
): ReturnType<typeof searchTraceRewards> | null {
  const numbers = problem.meta['numbers'];
  if (!Array.isArray(numbers)) return null;
  return searchTraceRewards(numbers.map(Number), rollout.text, { wrongOutcome });
}

function lengthIn(rollout: Sample['rollout'], unit: Unit): number {
  return piecesOf(rollout, unit).length;
}

type Unit = NonNullable<RewardSettings['unit']>;

function piecesOf({ completionIds, text }: Sample['rollout'], unit: Unit): readonly (number | string)[] {
  if (unit === 'tokens') return completionIds;
  return unit === 'lines' ? text.split('\n') : wordsOf(text);
}
