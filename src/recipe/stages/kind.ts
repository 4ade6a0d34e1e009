/** Owns what a type of stage says of itself in a recipe: its keys, its checks and its plan. Runs nothing. */

import * as z from 'zod';
import type { EngineRecipe } from '../engine.ts';
import type { RecipeProblem } from '../issues.ts';
import { formatPath, type KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';

/** What follows from a stage's numbers, in words and as numbers. */
export interface StageWords {
  readonly summary: string;
  readonly numbers: Readonly<Record<string, number>>;
}

/** A key that nothing reads, as the keys beside it stand. */
export interface IdleKey {
  /** Within the stage. */
  readonly keys: readonly string[];
  /** Why, as the end of `must be left out, because`. */
  readonly because: string;
  /** A value that is true all the same. */
  readonly off?: unknown;
}

/** One type of stage. `S` is the stage with every default filled in. */
export interface StageKind<S> {
  /** The keys; made with `keysOf`, which checks them against `S`. */
  readonly schema: z.ZodObject;
  /** Whether the stage leaves a model that later stages start from. */
  readonly trains: boolean;
  /** Whether completions are sampled from the model. */
  readonly samples: boolean;
  /** Whether the stage is made again, at no cost, whenever one before it has run. */
  readonly summarises?: boolean;
  /** Fills in what follows from other keys. */
  readonly derive?: (stage: S, engine: EngineRecipe) => S;
  /** Combinations that the keys allow and that cannot work. */
  check(stage: S, path: KeyPath, recipe: Recipe): RecipeProblem[];
  /** Keys that nothing reads beside the others; by default there are none. */
  readonly idle?: (stage: S, recipe: Recipe) => readonly IdleKey[];
  plan(stage: S, recipe: Recipe): StageWords;
}

/** The schema of a stage whose parsed value is an `S`; `derive` may fill in what is still missing. */
export function keysOf<S>(schema: z.ZodObject & z.ZodType<S>): z.ZodObject {
  return schema;
}

/** What is wrong with the key at `path`, which the sentence begins with. */
export function problem(path: KeyPath, rest: string): RecipeProblem {
  return { path, message: `${formatPath(path)} ${rest}` };
}

/** A positive whole number. */
export function count(): z.ZodInt {
  return z.int().min(1);
}

/** A number from 0 to 1. */
export function share(): z.ZodNumber {
  return z.number().min(0).max(1);
}

/** A stage's own name in files, tables and flags. */
export function label(): z.ZodString {
  return z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/, 'lower-case letters, digits and -')
    .describe('names the stage in files, tables and `--set`');
}

/** 12,345. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
