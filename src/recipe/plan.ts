/** Owns the derived plan: what the recipe's numbers come to, for a person to read before a run. Runs nothing. */

import { type GrpoStage, type Recipe, type SftStage, type Stage, stageDirectoryName } from './recipe.ts';

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
    return { directory, type: stage.type, ...describeStage(stage, recipe) };
  });
  return { name: recipe.name, seed: recipe.seed, model: describeModel(recipe), stages };
}

/** The plan as lines of text, one a stage. */
export function formatPlan(plan: Plan): string {
  const width = Math.max(...plan.stages.map((stage) => stage.directory.length));
  const lines = plan.stages.map((stage) => `  ${stage.directory.padEnd(width)}  ${stage.summary}`);
  return [`${plan.name}: seed ${plan.seed}, ${plan.model}`, ...lines].join('\n');
}

type StageWords = Pick<PlannedStage, 'summary' | 'numbers'>;

function describeStage(stage: Stage, recipe: Recipe): StageWords {
  switch (stage.type) {
    case 'prepare':
      return { summary: `problems of ${recipe.task.name}, tokenizer and model`, numbers: {} };
    case 'evaluate': {
      const { split, samplesPerProblem, temperature } = recipe.evaluation;
      const summary = `${samplesPerProblem} samples for each ${split} problem at temperature ${temperature}`;
      return { summary, numbers: { samplesPerProblem } };
    }
    case 'sft':
      return describeSft(stage, recipe);
    case 'grpo':
      return describeGrpo(stage, recipe);
    case 'report':
      return { summary: 'summary.json, report.md and report.html', numbers: {} };
  }
}

function describeSft(stage: SftStage, recipe: Recipe): StageWords {
  const sequences = stage.steps * stage.optimizerBatch;
  const checkpoints = Math.ceil(stage.steps / recipe.checkpoints.every);
  const batches = `${grouped(stage.steps)} steps of ${stage.optimizerBatch} sequences = ${grouped(sequences)} sequences`;
  return {
    summary: `${batches}, ${describeRate(stage)}`,
    numbers: { steps: stage.steps, updates: stage.steps, sequences, checkpoints },
  };
}

function describeGrpo(stage: GrpoStage, recipe: Recipe): StageWords {
  const sequencesPerStep = stage.promptsPerStep * stage.groupSize;
  const updatesPerStep = (sequencesPerStep / stage.optimizerBatch) * stage.epochs;
  const rollouts = stage.steps * sequencesPerStep;
  const updates = stage.steps * updatesPerStep;
  const checkpoints = Math.ceil(stage.steps / recipe.checkpoints.every);
  const batches = `${grouped(stage.steps)} steps of ${stage.promptsPerStep} problems x ${stage.groupSize} completions`;
  const summary = `${batches} = ${grouped(rollouts)} rollouts, ${grouped(updates)} updates of ${stage.optimizerBatch}, ${describeRate(stage)}`;
  return {
    summary,
    numbers: { steps: stage.steps, sequencesPerStep, updatesPerStep, rollouts, updates, checkpoints },
  };
}

function describeRate({ learningRate, schedule, warmupSteps }: SftStage | GrpoStage): string {
  const warmup = warmupSteps === 0 ? '' : ` after ${warmupSteps} of warm-up`;
  return `learning rate ${learningRate} (${schedule}${warmup})`;
}

function describeModel({ model }: Recipe): string {
  if (model.init === undefined) return `model from ${model.path ?? 'nowhere'}`;
  const { layers, hiddenSize, heads, keyValueHeads } = model.init;
  return `new model of ${layers} layers, width ${hiddenSize}, ${heads} heads (${keyValueHeads} key-value) of ${hiddenSize / heads}`;
}

function grouped(value: number): string {
  return value.toLocaleString('en-US');
}
