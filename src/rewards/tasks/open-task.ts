/** Owns the way from a task's options to the Task: reads, splits, filters and counts. Loads no model. */

import { arithmeticProblems } from '../../data/arithmetic.ts';
import { filterByPassRate, readPassRates } from '../../data/pass-rates.ts';
import type { Problem } from '../../data/problem.ts';
import { loadFileSet, loadProblemSet, type ProblemSet } from '../../data/problem-sets.ts';
import { planSplits, subsetOf } from '../../data/splits.ts';
import { completionLengths, promptLengths, promptTemplate, type RenderChat } from '../../prompts/index.ts';
import type { Tokenizer } from '../../text/index.ts';
import { ReckonError } from '../../util/errors.ts';
import { Rng } from '../../util/rng.ts';
import { game24Task } from '../game24-task.ts';
import type { Graded, GradeOptions } from '../grade/graded.ts';
import type { Splits, Task } from '../task.ts';
import { answerTask, type Judge } from './answer-task.ts';
import { countdownTask } from './countdown-task.ts';
import { mixtureTask } from './mixture-task.ts';
import type {
  AnyFileOptions,
  ArithmeticTaskOptions,
  CommonTaskOptions,
  GradedTaskOptions,
  Gsm8kOptions,
  KnownSetOptions,
  SingleTaskOptions,
  TaskOptions,
} from './options.ts';
import { ownTask } from './own-task.ts';

/** What a task needs of its surroundings. */
export interface TaskTools {
  /** Compares answers with references: `grade` of the graders. */
  readonly grade: (prediction: string, reference: string, options: GradeOptions) => Graded | Promise<Graded>;
  /** The tokenizer of the model, made from the characters of the task where the model is new. */
  readonly tokenizer: (alphabet: readonly string[]) => Tokenizer;
  /** Renders chats by the model's tokenizer; throws where it cannot. */
  readonly renderChat?: RenderChat | undefined;
  /** Told what is downloaded. */
  readonly log?: (line: string) => void;
}

/** Opens a task: problems in their parts, as the options ask for them. What was left out is said in its `notes`. */
export async function openTask(options: TaskOptions, tools: TaskTools): Promise<Task> {
  if (options.name !== 'mixture')
    return withinLengths(chosen(await openSingle(options, tools), options), options, tools);
  const sources = [];
  for (const { task, count, weight } of options.sources) {
    sources.push({ task: await openTask(task, tools), count, weight });
  }
  return mixtureTask(sources, options.splitSeed, options.size);
}

/** The task, where it needs neither a file nor a tokenizer nor time; else null. */
export function immediateTask(options: TaskOptions): Task | null {
  if (options.name !== 'game24') return null;
  const { splitSeed, subset = 'full', passRates, maxPromptTokens, maxSolutionTokens } = options;
  const filters = [passRates, maxPromptTokens, maxSolutionTokens];
  const whole = subset === 'full' && filters.every((one) => one === undefined);
  return whole ? game24Task(splitSeed, options) : null;
}

async function openSingle(options: SingleTaskOptions, tools: TaskTools): Promise<Task> {
  switch (options.name) {
    case 'game24':
      return game24Task(options.splitSeed, options);
    case 'countdown':
      return countdownTask(options, promptTemplate(options.prompt, tools.renderChat));
    case 'own':
      return ownTask(options, judgeBy(tools.grade, { profile: 'default' }));
    case 'arithmetic':
      return gradedTask(options, arithmeticSet(options), tools);
    default:
      return gradedTask(options, await readSet(options, tools), tools);
  }
}

function readSet(
  options: Gsm8kOptions | KnownSetOptions | AnyFileOptions,
  { log }: TaskTools,
): Promise<ProblemSet> {
  const told = log === undefined ? options : { ...options, log };
  return told.name === 'file' ? loadFileSet(told) : loadProblemSet(told.name, told);
}

function arithmeticSet({
  count,
  digits,
  terms,
  operators,
  splitSeed,
  validation,
  test,
}: ArithmeticTaskOptions): {
  name: string;
  splits: Splits;
  notes: readonly string[];
} {
  const problems = arithmeticProblems({ count, digits, terms, operators, seed: splitSeed });
  const splits = planSplits(new Map([['train', problems]]), { validation, test }, splitSeed);
  return { name: 'arithmetic', splits, notes: [] };
}

function gradedTask(
  options: GradedTaskOptions & { readonly calculator?: boolean },
  { name, splits, notes }: Pick<ProblemSet, 'name' | 'splits' | 'notes'>,
  tools: TaskTools,
): Task {
  return answerTask({
    name,
    splits,
    notes,
    template: promptTemplate(options.prompt, tools.renderChat),
    judge: judgeBy(tools.grade, options),
    calculator: options.calculator ?? false,
  });
}

function judgeBy(grade: TaskTools['grade'], { profile }: Pick<GradedTaskOptions, 'profile'>): Judge {
  const judgement = ({ verdict, reason, extracted }: Graded) => ({
    verdict,
    reason,
    extracted: extracted ?? '',
  });
  return (completion, { reference }) => {
    const graded = grade(completion, reference, { profile });
    return graded instanceof Promise ? graded.then(judgement) : judgement(graded);
  };
}

/** The training problems by pass rate, then the subset of them. */
function chosen(task: Task, { passRates, subset, splitSeed }: CommonTaskOptions): Task {
  const notes = [...(task.notes ?? [])];
  let train = task.splits.train;
  if (passRates !== undefined) {
    const { file, min, max } = passRates;
    const { kept, below, above, unknown } = filterByPassRate(train, readPassRates(file), passRates);
    const left = `${below} solved less often, ${above} more often, ${unknown} without a rate`;
    notes.push(
      `${task.name}: ${kept.length} of ${train.length} problems have a pass rate from ${min} to ${max} in ${file}; left out: ${left}.`,
    );
    train = kept;
  }
  if (subset !== undefined && subset !== 'full') train = subsetOf(train, subset, splitSeed);
  refuseNone(train, task);
  return train === task.splits.train ? task : replaced(task, { ...task.splits, train }, notes);
}

/** Without the problems that are longer than allowed; nothing is cut. */
function withinLengths(task: Task, options: CommonTaskOptions, tools: TaskTools): Task {
  const { maxPromptTokens, maxSolutionTokens } = options;
  if (maxPromptTokens === undefined && maxSolutionTokens === undefined) return task;
  const tokenizer = tools.tokenizer(task.alphabet);
  const notes = [...(task.notes ?? [])];
  const rng = (id: string): Rng => new Rng({ seed: options.splitSeed, purpose: 'length', id });
  const long = new Set<string>();
  const report = (
    what: string,
    part: string,
    limit: number,
    found: ReturnType<typeof promptLengths>,
  ): void => {
    for (const id of found.tooLong) long.add(id);
    if (found.tooLong.length === 0) return;
    notes.push(
      `${task.name}: ${found.tooLong.length} of ${found.count} ${part} problems are left out, because their ${what} has more than ${limit} tokens (the longest ${found.longest}).`,
    );
  };
  for (const [part, problems] of Object.entries(task.splits)) {
    if (maxPromptTokens !== undefined) {
      const prompts = problems.map((problem: Problem) => ({
        id: problem.id,
        text: task.prompt(problem, rng(problem.id)),
      }));
      report('prompt', part, maxPromptTokens, promptLengths(tokenizer, prompts, maxPromptTokens));
    }
    if (maxSolutionTokens !== undefined && part === 'train') {
      const solutions = problems
        .filter(({ reference }: Problem) => reference !== '')
        .map((problem: Problem) => ({
          id: problem.id,
          text: task.demonstrate(problem, rng(problem.id)).completion,
        }));
      report('solution', part, maxSolutionTokens, completionLengths(tokenizer, solutions, maxSolutionTokens));
    }
  }
  const keep = (problems: readonly Problem[]): Problem[] => problems.filter(({ id }) => !long.has(id));
  const { train, validation, test } = task.splits;
  const splits = { train: keep(train), validation: keep(validation), test: keep(test) };
  refuseNone(splits.train, task);
  return replaced(task, splits, notes);
}

function refuseNone(train: readonly Problem[], { name }: Task): void {
  if (train.length > 0) return;
  throw new ReckonError(
    'recipe',
    'nothing-to-train',
    `${name}: no problem is left to train on; widen passRates, or raise maxPromptTokens and maxSolutionTokens`,
  );
}

/** The same task with other problems; its alphabet stays that of all of them, so that a tokenizer does not change. */
function replaced(task: Task, splits: Splits, notes: readonly string[]): Task {
  return Object.defineProperties({} as Task, {
    ...Object.getOwnPropertyDescriptors(task),
    splits: { value: splits, enumerable: true },
    notes: { value: notes, enumerable: true },
  });
}
