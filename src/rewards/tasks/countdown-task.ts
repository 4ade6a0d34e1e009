/** Owns countdown as a Task: generated puzzles or those of files, judged by exact arithmetic. Knows no model. */

import { countdownProblems } from '../../data/countdown.ts';
import { countdownOf } from '../../data/countdown-rows.ts';
import type { Problem } from '../../data/problem.ts';
import { readData } from '../../data/read-data.ts';
import { BadRows } from '../../data/rows.ts';
import { planSplits } from '../../data/splits.ts';
import type { PromptTemplate } from '../../prompts/index.ts';
import { ReckonError } from '../../util/errors.ts';
import { gradeStrict } from '../arith/strict.ts';
import type { Judgement } from '../reward.ts';
import type { Task } from '../task.ts';
import { answerTask } from './answer-task.ts';
import type { CountdownTaskOptions } from './options.ts';

/** Puzzles such as `7 74 75 51 = 43`; every number must be used once. */
export async function countdownTask(options: CountdownTaskOptions, template: PromptTemplate): Promise<Task> {
  const { data, notes } = await puzzles(options);
  const { validation, test, splitSeed } = options;
  const asking = [...data].map(([split, all]) => [split, all.map((one) => asked(one, template))] as const);
  const own = data.has('test') && data.size > 1;
  return answerTask({
    name: 'countdown',
    splits: planSplits(new Map(asking), own ? { validation } : { validation, test }, splitSeed),
    template,
    judge: judgeCountdown,
    notes,
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

async function puzzles(
  options: CountdownTaskOptions,
): Promise<{ data: ReadonlyMap<string, readonly Problem[]>; notes: string[] }> {
  const { path, skipBad, count, numbers, values, target, splitSeed } = options;
  if (path === undefined) {
    const problems = countdownProblems({ count, numbers, values, target, seed: splitSeed });
    return { data: new Map([['train', problems]]), notes: [] };
  }
  const bad = new BadRows(skipBad);
  const { splits, repeated } = countdownOf(await readData(path, bad), bad);
  let wrong = 0;
  // Published answers are not always right, some have signs that the judge refuses: neither may be demonstrated.
  const checked = [...splits].map(([split, problems]) => [
    split,
    problems.map((problem) => {
      if (problem.reference === '' || judgeCountdown(problem.reference, problem).verdict === 'correct')
        return problem;
      wrong++;
      return { ...problem, reference: '' };
    }),
  ]) as [string, Problem[]][];
  const notes = [
    ...(wrong === 0
      ? []
      : [`countdown: ${wrong} published answers of ${path} do not pass the judge and are not demonstrated.`]),
    ...(repeated === 0 ? [] : [`countdown: ${repeated} repeated puzzles of ${path} were left out.`]),
    ...(bad.found.length === 0 ? [] : [`countdown: ${bad.found.length} malformed rows were left out.`]),
  ];
  return { data: new Map(checked), notes };
}

/** In words where a language model is asked; the bare line where the template is plain. */
function asked(problem: Problem, { name }: PromptTemplate): Problem {
  if (name === 'plain') return { ...problem, meta: { ...problem.meta, solution: problem.reference } };
  const { numbers, target } = problem.meta as { numbers: readonly number[]; target: number };
  const question = `Make ${target} from the numbers ${numbers.join(', ')}. Use each number exactly once, with +, -, *, / and parentheses, and answer with the expression alone.`;
  return { ...problem, question };
}
