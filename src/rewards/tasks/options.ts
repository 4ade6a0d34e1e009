/** Owns what may be asked of a task, every default filled in: the types behind a recipe's `task`. Opens none. */

import type { ArithmeticOperator } from '../../data/arithmetic.ts';
import type { Columns } from '../../data/columns.ts';
import type { SplitPlan } from '../../data/splits.ts';
import type { TemplateName } from '../../prompts/index.ts';
import type { Profile } from '../grade/graded.ts';

/** What every task takes. */
export interface CommonTaskOptions {
  /** Fixes which problems are held out and drawn. */
  readonly splitSeed: number;
  /** Trains on so many problems only; larger subsets hold the smaller ones. */
  readonly subset?: number | 'full' | undefined;
  /** Trains on problems that a model solved this often. */
  readonly passRates?: { readonly file: string; readonly min: number; readonly max: number } | undefined;
  /** Problems whose prompt has more tokens are left out, and counted. */
  readonly maxPromptTokens?: number | undefined;
  /** Training problems whose demonstration has more tokens are left out, and counted. */
  readonly maxSolutionTokens?: number | undefined;
}

/** The 24-point game. */
export interface Game24Options extends CommonTaskOptions {
  readonly name: 'game24';
  readonly split: 'default' | 'seed3' | 'tot';
  readonly format: 'compact' | 'v1' | 'v2' | 'v3';
}

/** Puzzles of numbers and a target. */
export interface CountdownTaskOptions extends CommonTaskOptions {
  readonly name: 'countdown';
  readonly prompt: TemplateName;
  /** A file or folder of puzzles in place of generated ones. */
  readonly path?: string | undefined;
  readonly skipBad: boolean;
  readonly count: number;
  readonly numbers: readonly [number, number];
  readonly values: readonly [number, number];
  readonly target: readonly [number, number];
  readonly validation: number;
  readonly test: number;
}

/** How answers of data sets are judged and posed. */
export interface GradedTaskOptions extends CommonTaskOptions {
  readonly prompt: TemplateName;
  readonly profile: Profile;
}

/** Generated exercises. */
export interface ArithmeticTaskOptions extends GradedTaskOptions {
  readonly name: 'arithmetic';
  readonly count: number;
  readonly digits: number;
  readonly terms: readonly [number, number];
  readonly operators: readonly ArithmeticOperator[];
  readonly validation: number;
  readonly test: number;
}

interface FileTaskOptions extends GradedTaskOptions {
  readonly skipBad: boolean;
  readonly where?: Readonly<Record<string, readonly (string | number | boolean)[]>> | undefined;
  readonly splits?: SplitPlan | undefined;
}

/** Grade-school word problems. */
export interface Gsm8kOptions extends FileTaskOptions {
  readonly name: 'gsm8k';
  readonly path?: string | undefined;
  readonly split: 'official' | 'seed2';
  /** Keeps `<<48/2=24>>` in demonstrations. */
  readonly calculator: boolean;
}

/** MATH and NuminaMath-TIR. */
export interface KnownSetOptions extends FileTaskOptions {
  readonly name: 'math' | 'numina';
  readonly path?: string | undefined;
}

/** Any data set by its columns. */
export interface AnyFileOptions extends FileTaskOptions {
  readonly name: 'file';
  readonly path: string;
  readonly columns: Columns;
}

/** A task of the user's: what a TypeScript file exports. */
export interface OwnTaskOptions extends CommonTaskOptions {
  readonly name: 'own';
  readonly file: string;
  /** Name of the export; `a.b` is inside it. The default export where nobody says. */
  readonly export?: string | undefined;
  /** Of the task's text and what it imports from beside it; written when the recipe is opened. */
  readonly sha256?: string | undefined;
  readonly splits?: SplitPlan | undefined;
}

/** A task that stands alone. */
export type SingleTaskOptions =
  | Game24Options
  | CountdownTaskOptions
  | ArithmeticTaskOptions
  | Gsm8kOptions
  | KnownSetOptions
  | AnyFileOptions
  | OwnTaskOptions;

/** One task of a mixture, with the count or the weight of its training problems. */
export interface MixtureEntry {
  readonly task: SingleTaskOptions;
  readonly count?: number | undefined;
  readonly weight?: number | undefined;
}

/** Several tasks in one: trained on by counts or weights, held out whole. */
export interface MixtureTaskOptions {
  readonly name: 'mixture';
  readonly splitSeed: number;
  readonly sources: readonly MixtureEntry[];
  /** Training problems in all, by weight; as many as the sources allow by default. */
  readonly size?: number | undefined;
}

/** Any task. */
export type TaskOptions = SingleTaskOptions | MixtureTaskOptions;
