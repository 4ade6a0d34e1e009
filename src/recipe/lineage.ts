/** Owns which earlier stage a stage starts from and which it learns from: names to places in the list. Runs nothing. */

import type { RecipeProblem } from './issues.ts';
import { type KeyPath, suggest } from './nearest.ts';
import { labelOf, type Recipe } from './recipe.ts';
import { problem } from './stages/kind.ts';
import { ownModels } from './stages/reference.ts';
import { kindOf, type Stage } from './stages.ts';

/** What other stages call a stage: its label, or its type where it has none. */
export function stageName(stage: Stage): string {
  return labelOf(stage) ?? stage.type;
}

/** Whether later stages can start from what the stage leaves. */
export function leavesModel({ type }: Stage): boolean {
  return kindOf(type).trains || type === 'prepare' || type === 'model';
}

/** The nearest stage before `index` of that name that leaves a model; null where there is none. */
export function modelStage(stages: readonly Stage[], name: string, index: number): number | null {
  const found = stages.findLastIndex(
    (stage, i) => i < index && leavesModel(stage) && stageName(stage) === name,
  );
  return found < 0 ? null : found;
}

/**
 * The stage whose model the stage at `index` starts from: the one it names, or the nearest before it that leaves one. A
 * further model takes the tokenizer of the first stage.
 */
export function parentIndex(stages: readonly Stage[], index: number): number | null {
  const from = originOf(stages[index]!);
  if (from !== undefined) return modelStage(stages, from, index);
  if (stages[index]!.type === 'model') return 0;
  const found = stages.findLastIndex((stage, i) => i < index && leavesModel(stage));
  return found < 0 ? null : found;
}

/** The earlier stages that made what the stage at `index` reads: its model and its teachers', theirs included. */
export function ancestors({ stages }: Recipe, index: number): ReadonlySet<number> {
  const found = new Set<number>();
  const visit = (i: number): void => {
    const teachers = namedModels(stages[i]!).map(({ name }) => modelStage(stages, name, i));
    for (const earlier of [parentIndex(stages, i), ...teachers]) {
      if (earlier === null || found.has(earlier)) continue;
      found.add(earlier);
      visit(earlier);
    }
  };
  visit(index);
  return found;
}

/** A `from` that names no earlier stage with a model. */
export function checkOrigins(stages: readonly Stage[]): RecipeProblem[] {
  return stages.flatMap((stage, i) => {
    const from = originOf(stage);
    if (from === undefined || modelStage(stages, from, i) !== null) return [];
    const path: KeyPath = ['stages', i, 'from'];
    const known = stages.slice(0, i).filter(leavesModel).map(stageName);
    return [
      problem(path, `is ${from}, which is no earlier stage that leaves a model; ${suggest(from, known)}`),
    ];
  });
}

function originOf(stage: Stage): string | undefined {
  return 'from' in stage ? stage.from : undefined;
}

/** Where a stage names a model beside its own. */
export const MODEL_KEYS: readonly (readonly string[])[] = [
  ['teacher'],
  ['reference'],
  ['intrinsic', 'teacher'],
  ['value', 'model'],
];

/** The models that a stage names beside its own, with their keys; words such as `start` name none. */
export function namedModels(stage: Stage): { readonly keys: readonly string[]; readonly name: string }[] {
  return MODEL_KEYS.flatMap((keys) => {
    const name = keys.reduce<unknown>(
      (value, key) => (value as Record<string, unknown> | null)?.[key],
      stage,
    );
    return typeof name === 'string' && !ownModels.includes(name) ? [{ keys, name }] : [];
  });
}
