/** Owns the checks across keys: combinations that the schema allows and that cannot work. Runs nothing. */

import { checkEngine } from './engine.ts';
import type { RecipeProblem } from './issues.ts';
import { checkOrigins } from './lineage.ts';
import { checkInit } from './model-init.ts';
import type { KeyPath } from './nearest.ts';
import { labelOf, type Recipe } from './recipe.ts';
import { problem, type StageKind } from './stages/kind.ts';
import { kindOf, type Stage } from './stages.ts';

/** Everything impossible about a recipe that fits the schema, in the order of its keys. */
export function checkCombinations(recipe: Recipe): RecipeProblem[] {
  return [
    ...checkModel(recipe),
    ...checkLengths(recipe),
    ...checkSplit(recipe),
    ...recipe.stages.flatMap((stage, i) =>
      (kindOf(stage.type) as StageKind<Stage>).check(stage, ['stages', i], recipe),
    ),
    ...checkOrder(recipe.stages),
    ...checkLabels(recipe.stages),
    ...checkOrigins(recipe.stages),
    ...checkEngine(recipe),
  ];
}

function checkLengths({
  sampling: { minCompletionTokens = 0, maxCompletionTokens },
}: Recipe): RecipeProblem[] {
  if (minCompletionTokens <= maxCompletionTokens) return [];
  const most = `must be at most sampling.maxCompletionTokens = ${maxCompletionTokens}`;
  return [problem(['sampling', 'minCompletionTokens'], `${most}, found ${minCompletionTokens}`)];
}

/** A part of the problems that the named split leaves empty. */
function checkSplit({ task, evaluation, stages }: Recipe): RecipeProblem[] {
  const empty = task.name === 'game24' && task.split === 'seed3' && evaluation.split === 'validation';
  if (!empty || !stages.some(({ type }) => type === 'evaluate')) return [];
  const reason = 'because the split seed3 of game24 has no validation problems';
  return [problem(['evaluation', 'split'], `must be test, ${reason}, found validation`)];
}

function checkModel({ model, sampling }: Recipe): RecipeProblem[] {
  const path: KeyPath = ['model'];
  if ((model.init === undefined) === (model.path === undefined)) {
    return [
      problem(
        path,
        `holds ${model.init === undefined ? 'neither init nor path' : 'both init and path'}; give one of the two`,
      ),
    ];
  }
  if (model.init === undefined) return [];
  const found = checkInit(model.init, [...path, 'init']);
  const { maxPositions } = model.init;
  if (sampling.maxCompletionTokens >= maxPositions) {
    const limit = `must be less than model.init.maxPositions = ${maxPositions}, because the prompt needs room too`;
    found.push(
      problem(['sampling', 'maxCompletionTokens'], `${limit}, found ${sampling.maxCompletionTokens}`),
    );
  }
  return found;
}

function checkOrder(stages: readonly Stage[]): RecipeProblem[] {
  return stages.flatMap((stage, i) => {
    const path: KeyPath = ['stages', i, 'type'];
    if (i === 0 && stage.type !== 'prepare') {
      return [problem(path, `must be prepare, which makes what all others need, found ${stage.type}`)];
    }
    if (i > 0 && stage.type === 'prepare') return [problem(path, 'is prepare, which stands first and once')];
    if (stage.type === 'report' && i < stages.length - 1) {
      return [problem(path, 'is report, which stands last and once')];
    }
    return [];
  });
}

function checkLabels(stages: readonly Stage[]): RecipeProblem[] {
  const labels = stages.map(labelOf);
  return labels.flatMap((label, i) => {
    const first = labels.indexOf(label);
    if (label === null || first === i || stages[first]!.type !== stages[i]!.type) return [];
    return [
      problem(['stages', i, 'label'], `repeats ${label}, the label of stages[${first}]; give it another`),
    ];
  });
}
