/** Owns tasks that users write: what they must say, its defaults, and the Task that is made of it. Reads no recipe. */

import type { Problem } from '../../data/problem.ts';
import { planSplits } from '../../data/splits.ts';
import { ReckonError } from '../../util/errors.ts';
import { exportAt, importUserModule } from '../../util/typescript.ts';
import type { Judgement } from '../reward.ts';
import type { Task } from '../task.ts';
import { answerTask, type Judge } from './answer-task.ts';
import type { OwnTaskOptions } from './options.ts';

/** A problem of a user's task; `id` is its question where it has none. */
export interface ProblemInput {
  readonly id?: string | undefined;
  readonly question: string;
  /** The answer; leave it out where there is no single one, and judge without it. */
  readonly reference?: string | undefined;
  /** What judge and demonstration read beside; `solution` holds a worked solution. */
  readonly meta?: Readonly<Record<string, unknown>> | undefined;
}

/** All problems, of which some are held out, or problems by part. */
export type ProblemsInput =
  | readonly ProblemInput[]
  | {
      readonly train: readonly ProblemInput[];
      readonly validation?: readonly ProblemInput[];
      readonly test?: readonly ProblemInput[];
    };

/** Right, wrong, not to be known, or that with a reason and what was found. */
export type JudgeAnswer = boolean | null | Judgement;

/** A task of a user's own. Only name and problems must be there. */
export interface TaskDefinition {
  readonly name: string;
  readonly problems: ProblemsInput | (() => ProblemsInput | Promise<ProblemsInput>);
  /** What the model is given; by default the question and a line's end. */
  readonly prompt?: ((question: string) => string) | undefined;
  /** What a model should write; by default `meta.solution`, or the reference alone. */
  readonly demonstrate?: ((problem: Problem) => string) | undefined;
  /** By default the graders compare the completion's answer with the reference. */
  readonly judge?: ((completion: string, problem: Problem) => JudgeAnswer | Promise<JudgeAnswer>) | undefined;
  /** Whether a completion has the form that is asked for; by default it must not be empty. */
  readonly keepsFormat?: ((completion: string) => boolean) | undefined;
  /** Texts that end a completion and stay in it. */
  readonly stop?: readonly string[] | undefined;
}

/** Gives a task its type, so that editor and compiler know every key: `export const mine = defineTask({ ... })`. */
export function defineTask(definition: TaskDefinition): TaskDefinition {
  return definition;
}

/** Whether a value is a {@link TaskDefinition} and not the options of a task that is known by name. */
export function isTaskDefinition(value: unknown): value is TaskDefinition {
  return typeof value === 'object' && value !== null && 'name' in value && 'problems' in value;
}

/** The definition that a file exports. Throws `task-export` where there is none. */
export async function loadTaskDefinition(
  options: Pick<OwnTaskOptions, 'file' | 'export'>,
): Promise<TaskDefinition> {
  const { file, export: path = 'default' } = options;
  const found = await exportAt(await importUserModule(file), path);
  const value: unknown = typeof found === 'function' ? await found() : found;
  if (isTaskDefinition(value)) return value;
  const message = `${file}: expected its export ${path} to be a task (\`defineTask({ name, problems, ... })\`), found ${value === undefined ? 'nothing' : typeof value}`;
  throw new ReckonError('usage', 'task-export', message);
}

/** The task of a file; `judge` compares answers where the definition does not. */
export async function ownTask(options: OwnTaskOptions, judge: Judge): Promise<Task> {
  const definition = await loadTaskDefinition(options);
  const {
    name,
    problems,
    prompt = (question: string) => `${question}\n`,
    keepsFormat,
    stop = [],
  } = definition;
  const given = typeof problems === 'function' ? await problems() : problems;
  const data = Object.entries(Array.isArray(given) ? { train: given } : given).map(
    ([part, some]) => [part, (some as readonly ProblemInput[]).map(problemOf)] as const,
  );
  return answerTask({
    name,
    splits: planSplits(new Map(data), options.splits ?? {}, options.splitSeed),
    template: {
      name: 'plain',
      prompt,
      completion: ({ reasoning, answer }) => (reasoning === '' ? answer : reasoning),
      keepsFormat: keepsFormat ?? ((completion) => completion.trim() !== ''),
      stop,
    },
    judge: definition.judge === undefined ? judge : judgeOf(definition.judge),
    ...(definition.demonstrate === undefined ? {} : { demonstration: definition.demonstrate }),
  });
}

function problemOf({ id, question, reference = '', meta = {} }: ProblemInput): Problem {
  return { id: id ?? question, question, reference, meta };
}

function judgeOf(judge: NonNullable<TaskDefinition['judge']>): Judge {
  const judgement = (answer: JudgeAnswer): Judgement => {
    if (typeof answer === 'object' && answer !== null) return answer;
    const verdict = answer === null ? 'unverifiable' : answer ? 'correct' : 'incorrect';
    return { verdict, reason: verdict, extracted: '' };
  };
  return (completion, problem) => {
    const answer = judge(completion, problem);
    return answer instanceof Promise ? answer.then(judgement) : judgement(answer);
  };
}
