/** Owns what a stage is given when it runs: names, folders, seed, log, progress, stop. Knows no recipe and no lock. */

import type { ProgressStream } from '../track/progress.ts';
import { ReckonError } from '../util/errors.ts';

/** What a run settled on at its first start; a resumed run computes with the same. */
export interface ResolvedCompute {
  /** `cpu` or `cuda:0`. */
  readonly device: string;
  readonly dtype: 'f32' | 'bf16';
  /** CPU threads of libtorch. */
  readonly threads: number;
  /** Level of the hand-written kernels, or `none`. */
  readonly kernels: string;
  /** Blocks are computed twice, so that training keeps one block's intermediate values and not all of them. */
  readonly gradientCheckpointing?: boolean | undefined;
}

/** How a stage ended: at its end, or early with a checkpoint because a stop was asked for. */
export type StageOutcome = 'done' | 'stopped';

/** What every stage function gets. `Recipe` and `Stage` are the recipe's types, known to whoever wires stages. */
export interface StageContext<Recipe = unknown, Stage = unknown> {
  /** Position among the stages, from 0. */
  readonly index: number;
  /** The stage's folder name, `03-sft`. */
  readonly name: string;
  /** The stage's folder, absolute; it exists. */
  readonly directory: string;
  /** The run's folder, absolute. */
  readonly runDirectory: string;
  readonly recipe: Recipe;
  readonly stage: Stage;
  readonly seed: number;
  readonly compute: ResolvedCompute;
  /** Output of the last earlier stage that had one (a model or checkpoint folder, absolute), or null. */
  readonly parent: string | null;
  readonly quiet: boolean;
  /** Prints a line and keeps it in run.log. */
  log(line: string): void;
  /** What the stage's `Progress` writes to: the terminal, with whole lines and a line now and then in run.log. */
  readonly stream: ProgressStream;
  /** True once a signal asked for a stop: finish the step, write a checkpoint, return 'stopped'. */
  stopRequested(): boolean;
  /** Names what this stage leaves for later ones: a folder inside the run, absolute. */
  setOutput(path: string): void;
  /** Seconds of the whole command so far, earlier attempts included. */
  elapsedSeconds(): number;
}

/** The model folder that a stage starts from; throws `no-model` where no earlier stage left one. */
export function parentOf({ name, parent }: Pick<StageContext, 'name' | 'parent'>): string {
  if (parent !== null) return parent;
  throw new ReckonError(
    'recipe',
    'no-model',
    `${name}: no earlier stage left a model; begin with a 'prepare' stage`,
  );
}
