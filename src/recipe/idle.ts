/** Owns the error for keys of a stage that are written and that nothing reads beside its other keys. Runs nothing. */

import type { RecipeProblem } from './issues.ts';
import type { KeyPath } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import { type IdleKey, problem, type StageKind } from './stages/kind.ts';
import { kindOf, type Stage } from './stages.ts';

/** The keys of the stage at `index` that nothing reads, as the recipe stands. */
export function idleKeys(recipe: Recipe, index: number): readonly IdleKey[] {
  const stage = recipe.stages[index]!;
  return (kindOf(stage.type) as StageKind<Stage>).idle?.(stage, recipe) ?? [];
}

/**
 * Keys of stages that say something which is not done. One that holds what it would without being written says nothing:
 * a resolved recipe holds every key.
 */
export function checkIdle(recipe: Recipe, raw: Readonly<Record<string, unknown>>): RecipeProblem[] {
  return recipe.stages.flatMap((stage, i) => {
    const written = (raw['stages'] as readonly unknown[])[i];
    return idleKeys(recipe, i).flatMap(({ keys, because, off }) => {
      const value = valueAt(stage, keys);
      const isSaid = valueAt(written, keys) !== undefined && !isSame(value, off);
      if (!isSaid || isSame(value, valueAt(unwritten(written, keys, recipe), keys))) return [];
      const path: KeyPath = ['stages', i, ...keys];
      return [problem(path, `must be left out, because ${because}, found ${JSON.stringify(value)}`)];
    });
  });
}

/** The stage as it would be without a key. */
function unwritten(written: unknown, keys: readonly string[], recipe: Recipe): unknown {
  const { type } = written as { readonly type: Stage['type'] };
  const { schema, derive } = kindOf(type) as StageKind<Stage>;
  const stage = schema.parse(without(written as object, keys)) as unknown as Stage;
  return derive ? derive(stage, recipe.engine) : stage;
}

function without(holder: object, [key, ...rest]: readonly string[]): object {
  const entries = Object.entries(holder).flatMap(([name, value]) => {
    if (name !== key) return [[name, value]];
    return rest.length === 0 ? [] : [[name, without(value as object, rest)]];
  });
  return Object.fromEntries(entries);
}

function valueAt(holder: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((value, key) => (value as Record<string, unknown> | null)?.[key], holder);
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
