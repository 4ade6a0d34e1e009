/** Owns how a stage gets the recipe's task, its rewards and its parent's model. Computes nothing itself. */

import type { Problem } from '../../data/problem.ts';
import { cachedFolder } from '../../hub/index.ts';
import type { Recipe, RewardRecipe } from '../../recipe/index.ts';
import { grade } from '../../rewards/grade/grade.ts';
import { makeReward, type Reward, type Splits, type Task } from '../../rewards/index.ts';
import { immediateTask, openTask, type TaskTools } from '../../rewards/tasks/open-task.ts';
import { ChatTemplate, characterTokenizer, loadTokenizer, type Tokenizer } from '../../text/index.ts';
import { ReckonError } from '../../util/errors.ts';

/** Tasks whose problems were read, by what they follow from: a data set is read once, not once a stage. */
const opened = new Map<string, Task>();

/** Reads the problems of the recipe's task, unless this process has them; `taskOf` then has the task. */
export async function openTaskOf(
  recipe: TaskInRecipe,
  log: (line: string) => void = () => undefined,
): Promise<Task> {
  const key = keyOf(recipe);
  const known = opened.get(key);
  if (known) return known;
  const task = await openTask(recipe.task, { ...toolsOf(recipe), log });
  for (const note of task.notes ?? []) log(note);
  opened.set(key, task);
  return task;
}

/** The task that the recipe names; the problems of a data set must have been read by `openTaskOf`. */
export function taskOf(recipe: TaskInRecipe): Task {
  const known = opened.get(keyOf(recipe));
  if (known) return known;
  const immediate = immediateTask(recipe.task);
  if (immediate) return immediate;
  throw new ReckonError('internal', 'task-not-opened', `${recipe.task.name}: call openTaskOf before taskOf`);
}

type TaskInRecipe = Pick<Recipe, 'task' | 'model'>;

function keyOf({ task, model }: TaskInRecipe): string {
  return JSON.stringify([task, model.path ?? null]);
}

/** The tokenizer is the model's own, or made from the task's characters where the model is new. */
function toolsOf({ model }: TaskInRecipe): TaskTools {
  const { path } = model;
  let loaded: Tokenizer | undefined;
  const own = (folder: string): Tokenizer => {
    loaded ??= loadTokenizer(cachedFolder(folder));
    return loaded;
  };
  return {
    grade,
    tokenizer: (alphabet) => (path === undefined ? characterTokenizer(alphabet) : own(path)),
    renderChat:
      path === undefined
        ? undefined
        : (messages) => new ChatTemplate(own(path)).render(messages, { addGenerationPrompt: true }),
  };
}

/** The rewards that a stage names: of the task, built in, or of the user's files. */
export function rewardsOf(
  recipe: TaskInRecipe & Pick<Recipe, 'sampling'>,
  named: readonly RewardRecipe[],
): Reward[] {
  const task = taskOf(recipe);
  return named.map((one) => makeReward(one, task, recipe.sampling.maxCompletionTokens));
}

/** The problems of a part, to be measured on; throws `no-problems` where there are none. */
export function problemsOf({ name, splits }: Task, split: keyof Splits): readonly Problem[] {
  if (splits[split].length > 0) return splits[split];
  const parts = ['train', 'validation', 'test'] as const;
  const sizes = parts.map((part) => `${part} ${splits[part].length}`);
  const found = `evaluation.split is ${split}, and ${name} has no such problems (${sizes.join(', ')})`;
  throw new ReckonError('recipe', 'no-problems', `${found}; choose another part, or other task.splits`);
}
