/** Owns the keys of a recipe's `task`: which problems are posed, how, and how they are split. Opens nothing. */

import * as z from 'zod';
import { TEMPLATES, type TemplateName } from '../prompts/templates.ts';
import { PROFILES } from '../rewards/grade/graded.ts';
import type { TaskOptions } from '../rewards/tasks/options.ts';
import { count } from './stages/kind.ts';

/** Which problems are posed and how answers are judged, every default filled in. */
export type TaskRecipe = TaskOptions;

const scalar = z.union([z.string(), z.number(), z.boolean()]);

function splitSeed(): z.ZodDefault<z.ZodInt> {
  return z.int().min(0).default(24).describe('fixes which problems are held out, whatever `seed` is');
}

const common = {
  splitSeed: splitSeed(),
  subset: z
    .union([count(), z.literal('full')])
    .optional()
    .describe('trains on so many problems, drawn by splitSeed; larger ones hold smaller ones'),
  passRates: z
    .strictObject({
      file: z
        .string()
        .min(1)
        .describe('JSONL of id and rate (or correct and samples), or an evaluation of a run'),
      min: z.number().min(0).max(1).default(0).describe('lowest rate that is kept'),
      max: z.number().min(0).max(1).default(1).describe('highest rate that is kept'),
    })
    .refine(({ min, max }) => min <= max, 'min at most max')
    .optional()
    .describe('trains on problems that a model solved this often'),
  maxPromptTokens: count().optional().describe('problems with longer prompts are left out, and counted'),
  maxSolutionTokens: count()
    .optional()
    .describe('training problems with longer demonstrations are left out, and counted'),
};

function posed(by: TemplateName): { prompt: z.ZodDefault<z.ZodEnum<Record<TemplateName, TemplateName>>> } {
  const names = Object.fromEntries(TEMPLATES.map((name) => [name, name])) as Record<
    TemplateName,
    TemplateName
  >;
  return { prompt: z.enum(names).default(by).describe('how a question is put to the model') };
}

const graded = {
  profile: z.enum(PROFILES).default('default').describe('the rules by which answers are compared'),
};

const parts = {
  splits: z
    .strictObject({
      train: z.string().min(1).optional().describe('a split expression such as train[:90%]'),
      validation: part().optional().describe('a split expression, or how many to draw from train'),
      test: part().optional().describe('a split expression, or how many to draw from train'),
    })
    .optional()
    .describe("which rows make which part; by default the data's own splits"),
};

const files = {
  skipBad: z.boolean().default(false).describe('leaves malformed rows out, counted, in place of an error'),
  where: z
    .record(z.string(), z.array(scalar).min(1))
    .optional()
    .describe('keeps rows whose columns have one of these values'),
  ...parts,
};

const path = z.string().min(1);

function part(): z.ZodUnion<readonly [z.ZodString, z.ZodInt]> {
  return z.union([z.string().min(1), z.int().min(0)]);
}

function named<N extends string>(name: N): z.ZodLiteral<N> {
  return z.literal(name).describe('which problems are posed and how answers are judged');
}

/** Two whole numbers: the ends of a range. */
function range(low: number, high: number): z.ZodDefault<z.ZodTuple<[z.ZodInt, z.ZodInt], null>> {
  return z
    .tuple([count(), count()])
    .refine(([least, most]) => least <= most, 'the least first')
    .default([low, high]);
}

const held = {
  validation: z.int().min(0).default(200).describe('problems for validation'),
  test: z.int().min(0).default(500).describe('problems held out'),
};

const game24 = z
  .strictObject({
    name: named('game24'),
    ...common,
    split: z
      .enum(['default', 'seed3', 'tot'])
      .default('default')
      .describe('1162 / 100 / 100, 1262 / 0 / 100, or ranks 901 to 1000 as test'),
    format: z
      .enum(['compact', 'v1', 'v2', 'v3'])
      .default('compact')
      .describe('how a search is written: in few characters, or as LLM4Game24 does'),
  })
  .describe('24 from four numbers');

const gsm8k = z
  .strictObject({
    name: named('gsm8k'),
    ...common,
    ...posed('r1-zero'),
    ...graded,
    path: path.optional().describe('a folder with train.jsonl and test.jsonl; by default from the hub'),
    split: z
      .enum(['official', 'seed2'])
      .default('official')
      .describe('the official test part, or a shuffle of all rows that trains on most of it'),
    calculator: z.boolean().default(false).describe('keeps <<48/2=24>> in demonstrations'),
    ...files,
  })
  .describe('grade-school word problems');

const math = z
  .strictObject({
    name: named('math'),
    ...common,
    ...posed('r1-zero'),
    ...graded,
    path: path.optional().describe('a folder in the format of MATH; by default from the hub'),
    ...files,
  })
  .describe('competition problems with boxed answers');

const numina = z
  .strictObject({
    name: named('numina'),
    ...common,
    ...posed('boxed'),
    ...graded,
    path: path.optional().describe('files with the columns problem and solution; by default from the hub'),
    ...files,
  })
  .describe('NuminaMath');

const countdown = z
  .strictObject({
    name: named('countdown'),
    ...common,
    ...posed('r1-zero'),
    path: path.optional().describe('a file or folder of puzzles, in place of generated ones'),
    skipBad: files.skipBad,
    count: count().default(5000).describe('different puzzles, held-out ones included'),
    numbers: range(3, 4).describe('fewest and most numbers of a puzzle'),
    values: range(1, 99).describe('smallest and largest number'),
    target: range(10, 100).describe('smallest and largest target'),
    ...held,
  })
  .describe('a target from numbers, generated');

const arithmetic = z
  .strictObject({
    name: named('arithmetic'),
    ...common,
    ...posed('plain'),
    ...graded,
    count: count().default(5000).describe('different exercises, held-out ones included'),
    digits: count().max(15).default(2).describe('most digits of a number'),
    terms: range(2, 2).describe('fewest and most numbers of an exercise'),
    operators: z
      .array(z.enum(['+', '-', '*']))
      .min(1)
      .default(['+', '-'])
      .describe('what numbers are joined by'),
    ...held,
  })
  .describe('sums, differences and products, generated');

const file = z
  .strictObject({
    name: named('file'),
    ...common,
    ...posed('boxed'),
    ...graded,
    path: path.describe('a JSONL, JSON, CSV or Parquet file, a folder of them, or a data set on the hub'),
    columns: z
      .strictObject({
        question: z.string().min(1).describe('the column of the question; a.b looks inside'),
        answer: z.string().min(1).optional().describe('of the bare answer'),
        solution: z.string().min(1).optional().describe('of the worked solution, which may hold the answer'),
        id: z.string().min(1).optional().describe('of a name that no other row has'),
      })
      .describe('what the columns mean'),
    ...files,
  })
  .describe('any data set by its columns');

const own = z
  .strictObject({
    name: named('own'),
    ...common,
    file: path.describe("a TypeScript file that exports a task (`defineTask`), from the recipe's folder"),
    export: path.optional().describe('which export; by default the default export'),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits')
      .optional()
      .describe('of the task; written when the recipe is opened'),
    ...parts,
  })
  .describe('a task of your own');

const single = [game24, gsm8k, math, numina, countdown, arithmetic, file, own] as const;

const mixture = z
  .strictObject({
    name: named('mixture'),
    splitSeed: splitSeed(),
    sources: z
      .array(
        z.strictObject({
          task: z.discriminatedUnion('name', single).describe('a task of its own'),
          count: count().optional().describe('training problems of it'),
          weight: z.number().positive().optional().describe('its share of the training problems'),
        }),
      )
      .min(1)
      .describe('what is mixed: all by count or all by weight'),
    size: count().optional().describe('training problems in all, by weight; default: as many as there are'),
  })
  .describe('several tasks in one');

/** The key `task`. */
export const taskSchema: z.ZodType<TaskRecipe> = z
  .discriminatedUnion('name', [...single, mixture])
  .describe('the task that is taught');

/** The names that `task.name` may have. */
export const taskNames: readonly TaskRecipe['name'][] = [...single, mixture].map(
  ({ shape }) => shape.name.value,
);

/** One task from plain values, defaults filled in; throws a zod error that says what is wrong. */
export function parseTask(value: unknown): TaskRecipe {
  return taskSchema.parse(value);
}
