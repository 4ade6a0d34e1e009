/** Owns countdown as a Task: generated puzzles, judged by exact arithmetic. Knows no model. */

import { countdownProblems } from '../../data/countdown.ts';
import type { Problem } from '../../data/problem.ts';
import { planSplits } from '../../data/splits.ts';
import type { PromptTemplate } from '../../prompts/index.ts';
import { ReckonError } from '../../util/errors.ts';
import { gradeStrict } from '../arith/strict.ts';
import type { Judgement } from '../reward.ts';
import type { Task } from '../task.ts';
import { answerTask } from './answer-task.ts';
import type { CountdownTaskOptions } from './options.ts';

/** Puzzles such as `7 74 75 51 = 43`; every number must be used once. */
export function countdownTask(options: CountdownTaskOptions, template: PromptTemplate): Task {
  const { count, numbers, values, target, splitSeed, validation, test } = options;
  const problems = countdownProblems({ count, numbers, values, target, seed: splitSeed });
  const data = new Map([['train', problems.map((problem) => asked(problem, template))]]);
  return answerTask({
    name: 'countdown',
    splits: planSplits(data, { validation, test }, splitSeed),
    template,
    judge: judgeCountdown,
  });
}

/** Judges a completion by the numbers and target that the problem holds. */
export function judgeCountdown(completion: string, problem: Problem): Judgement {
  const { numbers, target } = problem.meta;
  if (!Array.isArray(numbers) || typeof target !== 'number') {
    const message = `Expected numbers and target in meta of ${problem.id}; make it with countdownProblem.`;
    throw new ReckonError('data', 'not-countdown', message);
  }
  const { verdict, reason, extracted } = gradeStrict(completion, { numbers: numbers as number[], target });
  return { verdict, reason, extracted };
}

/** In words where a language model is asked; the bare line where the template is plain. */
function asked(problem: Problem, { name }: PromptTemplate): Problem {
  if (name === 'plain') return { ...problem, meta: { ...problem.meta, solution: problem.reference } };
  const { numbers, target } = problem.meta as { numbers: readonly number[]; target: number };
  const question = `Make ${target} from the numbers ${numbers.join(', ')}. Use each number exactly once, with +, -, *, / and parentheses, and answer with the expression alone.`;
  return { ...problem, question };
}
