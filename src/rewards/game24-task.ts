/** Owns the 24 game as a Task: its splits, prompts, demonstrations and judge together. Knows no model. */

import { type Game24Split, numbersOf, shuffledNumbers, splitGame24 } from '../data/game24.ts';
import type { SearchFormat } from '../data/game24-formats.ts';
import { alphabet, parseTrace, promptText, writeTrace } from '../data/game24-traces.ts';
import type { Problem } from '../data/problem.ts';
import { judgeGame24 } from './game24.ts';
import { checkProcess } from './game24-process.ts';
import { repairTrace } from './game24-repair.ts';
import { searchTask } from './game24-search-task.ts';
import type { ImmediateTask, Judged } from './task.ts';

/** Which split, and how a search is written down. */
export interface Game24TaskOptions {
  readonly split?: 'default' | 'seed3' | 'tot';
  readonly format?: 'compact' | SearchFormat;
}

/** The 24-point game; `splitSeed` decides which puzzles are held out. */
export function game24Task(splitSeed: number, options: Game24TaskOptions = {}): ImmediateTask {
  const { split = 'default', format = 'compact' } = options;
  const splits = splitGame24({ seed: splitSeed, named: split });
  return format === 'compact' ? compactTask(splits) : searchTask(splits, format);
}

function compactTask(splits: Game24Split): ImmediateTask {
  return {
    name: 'game24',
    alphabet,
    splits,
    prompt: (problem, rng) => promptText(shuffledNumbers(problem, rng)),
    demonstrate: (problem, rng) => {
      const numbers = shuffledNumbers(problem, rng);
      return { prompt: promptText(numbers), completion: writeTrace(numbers, rng) };
    },
    judge: judgeTrace,
    // The numbers in the order of the prompt, which the lines of a trace keep.
    repair: (_problem, attempt, rng) =>
      repairTrace(attempt.prompt.trim().split(' ').map(Number), attempt, rng),
    rewards: {
      correct: ({ problem, rollout }) => {
        const { verdict } = judgeTrace(problem, rollout.text).judgement;
        return verdict === 'unverifiable' ? null : Number(verdict === 'correct');
      },
      format: ({ rollout }) => Number(parseTrace(rollout.text).ok),
      process: ({ problem, rollout }) => {
        const finished = rollout.stopReason !== 'length' && rollout.stopReason !== 'aborted';
        const { lines, errors } = checkProcess(numbersOf(problem), rollout.text, finished);
        return 1 - errors / Math.max(1, lines);
      },
    },
  };
}

/** Takes the answer by the trace grammar and judges it by exact fractions. */
function judgeTrace(problem: Problem, completion: string): Judged {
  const { ok, answer } = parseTrace(completion);
  if (answer !== null) return { judgement: judgeGame24(numbersOf(problem), answer), formatOk: ok };
  return { judgement: { verdict: 'incorrect', reason: 'no-answer', extracted: '' }, formatOk: false };
}
