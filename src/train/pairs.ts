/** Owns preference pairs as token ids: read from a file, or made of judged rollouts. Knows no loss. */

import { type PairText, type PreferencePair, readPairLines } from '../data/training-rows.ts';
import { encodeCompletion, encodePrompt } from '../prompts/index.ts';
import type { ScoredGroup, Task } from '../rewards/index.ts';
import type { Rollout } from '../rollouts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import type { Rng } from '../util/rng.ts';
import type { TrainingSequence } from './micro-batches.ts';

/** The ids of a pair of texts; both completions end with the tokenizer's eos where it has one. */
export function encodePair(tokenizer: Tokenizer, { prompt, chosen, rejected }: PairText): PreferencePair {
  return {
    promptIds: encodePrompt(tokenizer, prompt),
    chosenIds: encodeCompletion(tokenizer, chosen),
    rejectedIds: encodeCompletion(tokenizer, rejected),
  };
}

/**
 * The pairs of a JSONL file. A line holds `prompt`, `chosen` and `rejected` as text, or `promptIds`, `chosenIds` and
 * `rejectedIds` as token ids, which are taken where both are there.
 */
export function readPairs(path: string, tokenizer: Tokenizer): PreferencePair[] {
  return readPairLines(path).map((pair) => ('promptIds' in pair ? pair : encodePair(tokenizer, pair)));
}

/** A pair as a line that `readPairs` reads back: the text to look at, and the ids that are learned from. */
export function pairLine(step: number, tokenizer: Tokenizer, pair: PreferencePair): object {
  return {
    step,
    prompt: tokenizer.decode(pair.promptIds),
    chosen: tokenizer.decode(pair.chosenIds),
    rejected: tokenizer.decode(pair.rejectedIds),
    ...pair,
  };
}

/** What trainers learn from: all chosen completions, then all rejected ones. */
export function pairSequences(pairs: readonly PreferencePair[]): TrainingSequence[] {
  return [
    ...pairs.map(({ promptIds, chosenIds }) => ({ promptIds, completionIds: chosenIds })),
    ...pairs.map(({ promptIds, rejectedIds }) => ({ promptIds, completionIds: rejectedIds })),
  ];
}

/**
 * The completions under the prompt of the next pair that has another, as far as the model has positions: what KTO's zero point
 * is of. None where all pairs have the same prompt.
 */
export function mismatchedSequences(
  pairs: readonly PreferencePair[],
  maxPositions: number,
): TrainingSequence[] {
  const keys = pairs.map(({ promptIds }) => promptIds.join());
  const moved = pairs.flatMap((pair, i) => {
    const step = pairs.findIndex((_, s) => keys[(i + s) % pairs.length] !== keys[i]);
    return step < 0 ? [] : [{ ...pair, promptIds: pairs[(i + step) % pairs.length]!.promptIds }];
  });
  return pairSequences(moved).filter(
    ({ promptIds, completionIds }) => promptIds.length + completionIds.length <= maxPositions,
  );
}

/** Correct against incorrect completions of the same problem, no completion twice, at most `most` pairs. */
export function outcomePairs({ scored }: ScoredGroup, most: number, rng: Rng): PreferencePair[] {
  const distinct = (verdict: string): Rollout[] => {
    const found = scored.filter((one) => one.judgement.verdict === verdict).map(({ rollout }) => rollout);
    return rng.shuffled([
      ...new Map(found.map((rollout) => [rollout.completionIds.join(), rollout])).values(),
    ]);
  };
  const [correct, incorrect] = [distinct('correct'), distinct('incorrect')];
  return correct.slice(0, Math.min(most, incorrect.length)).map(({ promptIds, completionIds }, i) => ({
    promptIds,
    chosenIds: completionIds,
    rejectedIds: incorrect[i]!.completionIds,
  }));
}

/**
 * The first wrong line of incorrect completions against a right one in its place, after the same prompt and the same
 * lines (step-wise DPO, Lai et al. 2024); at most `most` pairs of a group, none of the same prefix.
 */
export function firstErrorPairs(
  task: Task,
  tokenizer: Tokenizer,
  { problem, scored }: ScoredGroup,
  most: number,
  rng: Rng,
): PreferencePair[] {
  if (!task.repair) {
    const reason = 'it says nothing of right and wrong lines';
    throw new ReckonError(
      'recipe',
      'no-repair',
      `pairs of first errors are not for ${task.name}: ${reason}; use outcome`,
    );
  }
  const pairs = new Map<string, PreferencePair>();
  for (const { rollout, judgement } of scored) {
    if (judgement.verdict !== 'incorrect' || pairs.size >= most) continue;
    const pair = repaired(task, tokenizer, problem, rollout, rng);
    const key = pair?.promptIds.join();
    if (pair && key !== undefined && !pairs.has(key)) pairs.set(key, pair);
  }
  return [...pairs.values()];
}

/** The sampled ids are cut, never encoded again; null where no id ends at the line's ends. */
function repaired(
  task: Task,
  tokenizer: Tokenizer,
  problem: ScoredGroup['problem'],
  { promptIds, completionIds, text, stopReason }: Rollout,
  rng: Rng,
): PreferencePair | null {
  const finished = stopReason === 'eos' || stopReason === 'stop';
  const attempt = { prompt: tokenizer.decode(promptIds), completion: text, finished };
  const repair = task.repair?.(problem, attempt, rng) ?? null;
  if (repair === null) return null;
  const start = idsOf(tokenizer, completionIds, repair.before);
  const whole = repair.before + repair.wrong;
  const end = whole === text ? completionIds.length : idsOf(tokenizer, completionIds, whole);
  if (start === null || end === null) return null;
  return {
    promptIds: [...promptIds, ...completionIds.slice(0, start)],
    chosenIds: repair.right.endsWith('\n')
      ? tokenizer.encode(repair.right)
      : encodeCompletion(tokenizer, repair.right),
    rejectedIds: completionIds.slice(start, end),
  };
}

/** How many of the ids make exactly this beginning of their text. */
function idsOf(tokenizer: Tokenizer, ids: readonly number[], beginning: string): number | null {
  for (let count = 0; count <= ids.length; count++) {
    const text = tokenizer.decode(ids.slice(0, count));
    if (text.length >= beginning.length) return text === beginning ? count : null;
  }
  return null;
}
