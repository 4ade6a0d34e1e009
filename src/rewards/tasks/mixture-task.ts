/** Owns several tasks as one: their training problems mixed, their held-out problems side by side. Judges nothing itself. */

import { mix } from '../../data/mixture.ts';
import type { Problem } from '../../data/problem.ts';
import { ReckonError } from '../../util/errors.ts';
import type { Task } from '../task.ts';

/** A task of a mixture, by count or by weight. */
export interface MixedTask {
  readonly task: Task;
  readonly count?: number | undefined;
  readonly weight?: number | undefined;
}

/**
 * Each problem is posed, demonstrated, judged and rewarded by the task that it comes from. A reward is there where all of
 * the tasks have it. Throws `bad-mixture`, also where two tasks share a problem's id.
 */
export function mixtureTask(sources: readonly MixedTask[], seed: number, size?: number): Task {
  const owners = new Map<string, Task>();
  for (const { task } of sources) {
    for (const { id } of Object.values(task.splits).flat()) {
      if (owners.has(id)) {
        const message = `the mixture cannot be made: ${id} is in ${owners.get(id)!.name} and in ${task.name}; mix each data set once`;
        throw new ReckonError('recipe', 'bad-mixture', message);
      }
      owners.set(id, task);
    }
  }
  const owner = ({ id }: Problem): Task => owners.get(id)!;
  const tasks = sources.map(({ task }) => task);
  const train = mix(
    sources.map(({ task, count, weight }, i) => ({
      name: `${i}/${task.name}`,
      items: task.splits.train,
      count,
      weight,
    })),
    seed,
    size,
  );
  const shared = Object.keys(tasks[0]!.rewards).filter((name) => tasks.every((task) => task.rewards[name]));
  return {
    name: 'mixture',
    alphabet: [...new Set(tasks.flatMap((task) => task.alphabet))].sort(),
    splits: {
      train,
      validation: tasks.flatMap((task) => task.splits.validation),
      test: tasks.flatMap((task) => task.splits.test),
    },
    stop: [...new Set(tasks.flatMap((task) => task.stop ?? []))],
    notes: tasks.flatMap((task) => task.notes ?? []),
    prompt: (problem, rng) => owner(problem).prompt(problem, rng),
    demonstrate: (problem, rng) => owner(problem).demonstrate(problem, rng),
    judge: (problem, completion) => owner(problem).judge(problem, completion),
    repair: (problem, attempt, rng) => owner(problem).repair?.(problem, attempt, rng) ?? null,
    rewards: Object.fromEntries(
      shared.map((name) => [name, (sample, signal) => owner(sample.problem).rewards[name]!(sample, signal)]),
    ) as Task['rewards'],
  };
}
