/** Owns what `reckon data prepare` does with a task: opens it, measures it, prints samples, writes it. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Contamination, contaminationOf, type Problem } from '../data/index.ts';
import { completionLengths, promptLengths } from '../prompts/index.ts';
import { openRecipe, parseRecipe, type Recipe } from '../recipe/index.ts';
import type { Demonstration, Task } from '../rewards/index.ts';
import { openTaskOf } from '../run/stages/task.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatNumber, formatTable, printable } from '../util/format.ts';
import { Rng } from '../util/rng.ts';
import { mean } from '../util/statistics.ts';
import type { PrepareOptions } from './data.ts';
import { printResult } from './output.ts';

/** What is said of one part; lengths are in tokens under --tokenizer, else in characters. */
interface PartSummary {
  readonly problems: number;
  readonly prompt: { readonly mean: number; readonly longest: number };
  readonly solution: { readonly mean: number; readonly longest: number };
}

interface Prepared {
  readonly version: 1;
  readonly task: Recipe['task'];
  readonly unit: 'tokens' | 'characters';
  readonly parts: Readonly<Record<string, PartSummary>>;
  /** Held-out problems that are trained on, by part. */
  readonly contamination: Readonly<Record<'validation' | 'test', Contamination>>;
  readonly notes: readonly string[];
}

/** A task's name, or a recipe whose task is meant. */
export async function prepareData(name: string, options: PrepareOptions): Promise<void> {
  const recipe = await recipeOf(name, options);
  const said: string[] = [];
  const task = await openTaskOf(recipe, (line) => said.push(line));
  const tokenizer = options.tokenizer === undefined ? null : loadTokenizer(options.tokenizer);
  const demonstrations = Object.fromEntries(
    Object.entries(task.splits).map(([part, problems]) => [
      part,
      problems.filter(hasAnswer).map((one: Problem) => demonstrate(task, one)),
    ]),
  );
  const prepared: Prepared = {
    version: 1,
    task: recipe.task,
    unit: tokenizer === null ? 'characters' : 'tokens',
    parts: Object.fromEntries(
      Object.entries(task.splits).map(([part, { length: problems }]) => [
        part,
        { ...summaryOf(demonstrations[part]!, tokenizer), problems },
      ]),
    ),
    contamination: {
      validation: contaminationOf(task.splits.train, task.splits.validation),
      test: contaminationOf(task.splits.train, task.splits.test),
    },
    notes: [...new Set([...said, ...(task.notes ?? [])])],
  };
  if (options.out !== undefined) write(options.out, task, demonstrations, prepared);
  const samples = task.splits.train
    .filter(hasAnswer)
    .slice(0, options.show)
    .map((problem, i) => ({
      problem,
      ...demonstrations['train']![i]!,
    }));
  printResult(options, { ...prepared, samples }, textOf(task, prepared, samples, options));
}

/** The task's keys go through the recipe's own schema, so its errors name the flag and the nearest key. */
async function recipeOf(name: string, options: PrepareOptions): Promise<Recipe> {
  const set = [
    ...(options.path === undefined ? [] : [`task.path=${JSON.stringify(options.path)}`]),
    ...(options.skipBad === true ? ['task.skipBad=true'] : []),
    ...(options.seed === undefined ? [] : [`task.splitSeed=${options.seed}`]),
    ...(options.tokenizer === undefined ? [] : [`model={path: ${JSON.stringify(options.tokenizer)}}`]),
    ...(options.set ?? []).map((one) => `task.${one}`),
  ];
  if (/\.(ya?ml|[mc]?[tj]s)$/.test(name) && existsSync(name)) return openRecipe(name, { set });
  const bare = `version: 1\nname: data\ntask: { name: ${JSON.stringify(name)} }\nmodel: { init: {} }\nstages: [{ type: prepare }]\n`;
  return parseRecipe(bare, 'reckon data prepare', { set });
}

/** Every other problem can be rewarded, but not demonstrated. */
function hasAnswer({ reference }: Problem): boolean {
  return reference !== '';
}

function demonstrate(task: Task, problem: Problem): Demonstration {
  return task.demonstrate(problem, new Rng({ seed: 0, purpose: 'shown', id: problem.id }));
}

function summaryOf(
  shown: readonly Demonstration[],
  tokenizer: Tokenizer | null,
): Omit<PartSummary, 'problems'> {
  const measured = (
    pick: (one: Demonstration) => string,
    count: typeof promptLengths,
  ): PartSummary['prompt'] => {
    const texts = shown.map((one, i) => ({ id: String(i), text: pick(one) }));
    if (tokenizer !== null) {
      const { mean: average, longest } = count(tokenizer, texts, Number.POSITIVE_INFINITY);
      return { mean: average, longest };
    }
    const lengths = texts.map(({ text }) => text.length);
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
    return { mean: lengths.length === 0 ? 0 : mean(lengths), longest };
  };
  return {
    prompt: measured(({ prompt }) => prompt, promptLengths),
    solution: measured(({ completion }) => completion, completionLengths),
  };
}

function write(
  folder: string,
  task: Task,
  demonstrations: Readonly<Record<string, readonly Demonstration[]>>,
  prepared: Prepared,
): void {
  const lines = (values: readonly unknown[]): string =>
    values.map((one) => `${JSON.stringify(one)}\n`).join('');
  for (const [part, problems] of Object.entries(task.splits)) {
    writeFileAtomic(join(folder, `${part}.jsonl`), lines(problems));
  }
  for (const part of ['train', 'validation']) {
    writeFileAtomic(join(folder, 'demonstrations', `${part}.jsonl`), lines(demonstrations[part]!));
  }
  writeFileAtomic(join(folder, 'summary.json'), `${JSON.stringify(prepared, null, 2)}\n`);
}

type Sample = Demonstration & { readonly problem: Problem };

function textOf(task: Task, prepared: Prepared, samples: readonly Sample[], { out }: PrepareOptions): string {
  const { unit, parts, contamination, notes } = prepared;
  const header = ['part', 'problems', `prompt (${unit})`, 'longest', `solution (${unit})`, 'longest'];
  const rows = Object.entries(parts).map(([part, { problems, prompt, solution }]) => [
    part,
    problems.toLocaleString('en-US'),
    formatNumber(prompt.mean, 3),
    formatNumber(prompt.longest),
    formatNumber(solution.mean, 3),
    formatNumber(solution.longest),
  ]);
  const checks = Object.entries(contamination).map(
    ([part, { tested, exact, normalised }]) =>
      `${part}: ${exact} of ${tested} questions are also trained on, and ${normalised} but for spelling`,
  );
  const shown = samples.map(
    ({ problem, prompt, completion }) =>
      `--- ${problem.id}, answer ${problem.reference}\n${prompt}\u27e6${completion}\u27e7`,
  );
  return [
    task.name,
    '',
    formatTable([header, ...rows]),
    '',
    ...checks,
    ...notes.map((note) => `note: ${note}`),
    ...shown.map((sample) => `\n${printable(sample)}`),
    ...(out === undefined ? [] : ['', `written to ${out}`]),
  ].join('\n');
}
