/** Owns starting the trackers that a recipe asks for, and writing a finished run to them. Trackers know no recipe. */

import { join } from 'node:path';
import type { Recipe, TrackingRecipe } from '../recipe/index.ts';
import {
  RunFollower,
  TensorBoardTracker,
  type Tracker,
  type WandbNews,
  WandbTracker,
} from '../track/index.ts';
import { messageOf } from '../util/errors.ts';

/** Milliseconds between looks at the metrics: a tracker is never in a step's way. */
const LOOK_MS = 2000;

/** Follows a run until closed; null where no tracker is asked for. What fails is told in a sentence and never thrown. */
export function trackRun(
  directory: string,
  recipe: Recipe,
  say: (sentence: string) => void,
): { close(): Promise<void> } | null {
  const trackers = trackersFor(directory, recipe, recipe.tracking, { failed: say, told: say });
  if (trackers.length === 0) return null;
  const follower = new RunFollower(directory, trackers, say);
  follower.start(LOOK_MS);
  return follower;
}

/** Writes all that a run has measured to trackers, at once. */
export async function exportRun(
  directory: string,
  recipe: Recipe,
  { tracking, folder, failed, told }: { tracking: TrackingRecipe; folder?: string | undefined } & WandbNews,
): Promise<void> {
  const trackers = trackersFor(directory, recipe, tracking, { failed, told }, folder);
  await new RunFollower(directory, trackers, failed).close();
}

function trackersFor(
  directory: string,
  recipe: Recipe,
  { tensorboard, wandb }: TrackingRecipe,
  news: WandbNews,
  folder: string = join(directory, 'tensorboard'),
): Tracker[] {
  const run = { directory, name: recipe.name, config: recipe };
  const wanted: (() => Tracker)[] = [
    ...(tensorboard ? [() => new TensorBoardTracker(folder)] : []),
    ...(wandb === undefined ? [] : [() => new WandbTracker(run, wandb, news)]),
  ];
  return wanted.flatMap((make) => {
    try {
      return [make()];
    } catch (error) {
      news.failed(`a tracker could not begin (${messageOf(error)}); the run goes on without it`);
      return [];
    }
  });
}
