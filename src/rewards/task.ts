/** Owns the Task type: problems, how they are put to a model, and how its answers are judged. Knows no model. */

import type { Problem } from '../data/problem.ts';
import type { Rng } from '../util/rng.ts';
import type { Judgement, Reward } from './reward.ts';

/** The problems of a task; the three parts share none. */
export interface Splits {
  readonly train: readonly Problem[];
  readonly validation: readonly Problem[];
  readonly test: readonly Problem[];
}

/** What a grader says of one completion. */
export interface Judged {
  readonly judgement: Judgement;
  /** The completion parses by the task's grammar and ends in an answer. */
  readonly formatOk: boolean;
}

/** A demonstration for supervised fine-tuning. */
export interface Demonstration {
  readonly prompt: string;
  readonly completion: string;
}

/** What a model was asked and what it said; `finished` where it ended by itself. */
export interface Attempt {
  readonly prompt: string;
  readonly completion: string;
  readonly finished: boolean;
}

/** A completion's first wrong line, and a right one in its place. */
export interface Repair {
  /** The text before that line. */
  readonly before: string;
  /** The wrong line, with its line's end where it has one. */
  readonly wrong: string;
  /** A right line; without a line's end where it ends the completion. */
  readonly right: string;
}

/** Everything that training and evaluation need to know of a task. */
export interface Task {
  readonly name: string;
  /** Characters that a character-level tokenizer of the task must have. */
  readonly alphabet: readonly string[];
  readonly splits: Splits;
  /** The prompt of a problem; what may vary between prompts (the order of numbers) follows the rng. */
  prompt(problem: Problem, rng: Rng): string;
  demonstrate(problem: Problem, rng: Rng): Demonstration;
  /** A promise where the verdict is found elsewhere (symbolic comparison in workers). */
  judge(problem: Problem, completion: string): Judged | Promise<Judged>;
  /** Where the task's solutions go line by line: the first wrong one repaired, or null where there is none to repair. */
  repair?(problem: Problem, attempt: Attempt, rng: Rng): Repair | null;
  /** Texts that end a completion and stay in it, beside the model's own end. */
  readonly stop?: readonly string[];
  /** What a reader of results must be told of the problems, a sentence each. */
  readonly notes?: readonly string[];
  /** The rewards that recipes may name. */
  readonly rewards: Readonly<Record<string, Reward['score']>>;
}

/** A task whose verdicts need no waiting. */
export interface ImmediateTask extends Task {
  judge(problem: Problem, completion: string): Judged;
}
