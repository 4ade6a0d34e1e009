/** Owns the checks across keys: combinations that the schema allows and that cannot work. Runs nothing. */

import type { RecipeProblem } from './issues.ts';
import { formatPath, type KeyPath } from './nearest.ts';
import { type GrpoStage, labelOf, type ModelInit, type Recipe, type SftStage, type Stage } from './recipe.ts';

/** Everything impossible about a recipe that fits the schema, in the order of its keys. */
export function checkCombinations(recipe: Recipe): RecipeProblem[] {
  return [
    ...checkModel(recipe),
    ...recipe.stages.flatMap((stage, i) => checkStage(stage, ['stages', i])),
    ...checkOrder(recipe.stages),
    ...checkLabels(recipe.stages),
  ];
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

function checkInit(init: ModelInit, path: KeyPath): RecipeProblem[] {
  const { hiddenSize, heads, keyValueHeads } = init;
  const found: RecipeProblem[] = [];
  if (hiddenSize % heads !== 0) {
    found.push(
      problem([...path, 'hiddenSize'], `must be a multiple of heads = ${heads}, found ${hiddenSize}`),
    );
  } else if ((hiddenSize / heads) % 2 !== 0) {
    const size = hiddenSize / heads;
    found.push(
      problem(
        [...path, 'hiddenSize'],
        `over heads must be even for rotary positions, found ${hiddenSize} / ${heads} = ${size}`,
      ),
    );
  }
  if (heads % keyValueHeads !== 0) {
    found.push(problem([...path, 'keyValueHeads'], `must divide heads = ${heads}, found ${keyValueHeads}`));
  }
  return found;
}

function checkStage(stage: Stage, path: KeyPath): RecipeProblem[] {
  if (stage.type === 'sft') return checkSchedule(stage, path);
  return stage.type === 'grpo' ? [...checkSchedule(stage, path), ...checkGrpo(stage, path)] : [];
}

function checkSchedule(stage: SftStage | GrpoStage, path: KeyPath): RecipeProblem[] {
  if (stage.warmupSteps <= stage.steps) return [];
  return [
    problem([...path, 'warmupSteps'], `must be at most steps = ${stage.steps}, found ${stage.warmupSteps}`),
  ];
}

function checkGrpo(stage: GrpoStage, path: KeyPath): RecipeProblem[] {
  const { promptsPerStep, groupSize, optimizerBatch, rewards } = stage;
  const sequences = promptsPerStep * groupSize;
  const found: RecipeProblem[] = [];
  if (groupSize < 2) {
    const reason = 'because an advantage is a difference from the mean of its group';
    found.push(problem([...path, 'groupSize'], `must be at least 2, ${reason}, found ${groupSize}`));
  }
  if (sequences % optimizerBatch !== 0) {
    const product = `promptsPerStep x groupSize = ${promptsPerStep} x ${groupSize} = ${sequences}`;
    found.push(problem([...path, 'optimizerBatch'], `must divide ${product}, found ${optimizerBatch}`));
  }
  if (stage.kl.beta > 0 && stage.reference === 'none') {
    found.push(problem([...path, 'reference'], 'must be start where kl.beta is more than 0, found none'));
  }
  if (!rewards.some((reward) => reward.weight > 0)) {
    found.push(problem([...path, 'rewards'], 'must hold at least one weight above 0, found none'));
  }
  const names = rewards.map((reward) => reward.name);
  const repeated = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (repeated >= 0) {
    found.push(
      problem([...path, 'rewards', repeated, 'name'], `repeats ${names[repeated]}; give each reward once`),
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

function problem(path: KeyPath, rest: string): RecipeProblem {
  return { path, message: `${formatPath(path)} ${rest}` };
}
