/** Owns the 24 game with LLM4Game24's chains of thought: its demonstrations, its rewards, our strict verdict. */

import { type Game24Split, numbersOf, shuffledNumbers } from '../data/game24.ts';
import {
  keepsSearchFormat,
  type SearchFormat,
  searchAlphabet,
  searchAnswer,
  writeSearch,
} from '../data/game24-formats.ts';
import { prunedSearch, searchTree } from '../data/game24-search.ts';
import { promptText } from '../data/game24-traces.ts';
import { searchTraceRewards } from './arith/search-trace.ts';
import { judgeGame24 } from './game24.ts';
import type { ImmediateTask } from './task.ts';

/** Most failures that a demonstration tells, as in the published data. */
const MOST_DEAD_ENDS = 11;

/**
 * Demonstrations are pruned searches with 0 to 11 failures, drawn anew in every epoch. `process` and `length` are the
 * published rewards (`process` needs the expressions of format v3: in the others a state does not show the four numbers);
 * the verdict takes the expression of the last line and is exact.
 */
export function searchTask(splits: Game24Split, format: SearchFormat): ImmediateTask {
  return {
    name: 'game24',
    alphabet: searchAlphabet,
    splits,
    prompt: (problem, rng) => promptText(shuffledNumbers(problem, rng)),
    demonstrate: (problem, rng) => {
      const numbers = shuffledNumbers(problem, rng);
      const tree = searchTree(numbers, rng);
      const kept = prunedSearch(tree, rng.integer(MOST_DEAD_ENDS + 1), rng);
      return { prompt: promptText(numbers), completion: writeSearch(tree, kept, format) };
    },
    judge: (problem, completion) => {
      const answer = searchAnswer(completion);
      const formatOk = keepsSearchFormat(completion);
      if (answer !== null) return { judgement: judgeGame24(numbersOf(problem), answer), formatOk };
      return { judgement: { verdict: 'incorrect', reason: 'no-answer', extracted: '' }, formatOk };
    },
    rewards: {
      correct: ({ problem, rollout }) => {
        const answer = searchAnswer(rollout.text);
        return answer !== null && judgeGame24(numbersOf(problem), answer).verdict === 'correct' ? 1 : 0;
      },
      format: ({ rollout }) => Number(keepsSearchFormat(rollout.text)),
      process: ({ problem, rollout }) => searchTraceRewards(numbersOf(problem), rollout.text).process,
      length: ({ problem, rollout }) => searchTraceRewards(numbersOf(problem), rollout.text).length,
    },
  };
}
