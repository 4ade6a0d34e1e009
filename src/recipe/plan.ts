/** Owns the derived plan: what the recipe's numbers come to, for a person to read before a run. Runs nothing. */

import { type Recipe, stageDirectoryName } from './recipe.ts';
import { grouped, type StageKind } from './stages/kind.ts';
import { kindOf, type Stage } from './stages.ts';

/** One stage of a plan: its folder and what follows from its numbers, in words and as numbers. */
export interface PlannedStage {
  readonly directory: string;
  readonly type: Stage['type'];
  readonly summary: string;
  readonly numbers: Readonly<Record<string, number>>;
}

/** What a recipe will do. */
export interface Plan {
  readonly name: string;
  readonly seed: number;
  readonly model: string;
  readonly stages: readonly PlannedStage[];
}

/** Works out batches, updates and sequences of every stage. */
export function derivePlan(recipe: Recipe): Plan {
  const stages = recipe.stages.map((stage, index): PlannedStage => {
    const directory = stageDirectoryName(stage, index);
    const { summary, numbers } = (kindOf(stage.type) as StageKind<Stage>).plan(stage, recipe);
    return { directory, type: stage.type, summary: summary + describeBudget(stage), numbers };
  });
  return { name: recipe.name, seed: recipe.seed, model: describeModel(recipe), stages };
}

/** The plan as lines of text, one a stage. */
export function formatPlan(plan: Plan): string {
  const width = Math.max(...plan.stages.map((stage) => stage.directory.length));
  const lines = plan.stages.map((stage) => `  ${stage.directory.padEnd(width)}  ${stage.summary}`);
  return [`${plan.name}: seed ${plan.seed}, ${plan.model}`, ...lines].join('\n');
}

function describeBudget(stage: Stage): string {
  const budget = 'budget' in stage ? stage.budget : undefined;
  return budget === undefined ? '' : `; or until ${grouped(budget.generatedTokens)} tokens are sampled`;
}

function describeModel({ model }: Recipe): string {
  if (model.init === undefined) return `model from ${model.path ?? 'nowhere'}`;
  const { layers, hiddenSize, heads, keyValueHeads } = model.init;
  return `new model of ${layers} layers, width ${hiddenSize}, ${heads} heads (${keyValueHeads} key-value) of ${hiddenSize / heads}`;
}
