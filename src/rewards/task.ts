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

/** Everything that training and evaluation need to know of a task. */
export interface Task {
  readonly name: string;
  /** Characters that a character-level tokenizer of the task must have. */
  readonly alphabet: readonly string[];
  readonly splits: Splits;
  /** The prompt of a problem; what may vary between prompts (the order of numbers) follows the rng. */
  prompt(problem: Problem, rng: Rng): string;
  demonstrate(problem: Problem, rng: Rng): Demonstration;
  judge(problem: Problem, completion: string): Judged;
  /** The rewards that recipes may name. */
  readonly rewards: Readonly<Record<string, Reward['score']>>;
}
