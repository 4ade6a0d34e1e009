/**
 * Owns what a recipe will take on a machine, in memory, disk and time, worked out from its numbers. Rough on purpose: every
 * completion is taken to run to its limit, and speeds are those of bench/ on two cores. Measures nothing.
 */

import { formatBytes, formatCount, formatDuration } from '../util/format.ts';
import { adapterParameters, type ModelSize, modelSize, sizeOf } from './model-size.ts';
import type { Plan } from './plan.ts';
import type { Recipe } from './recipe.ts';
import { kindOf, type Stage } from './stages.ts';

/** What the estimate needs to know of a machine. */
export interface Machine {
  readonly threads: number;
  /** Whether there are instructions for bf16. */
  readonly bf16: boolean;
  readonly memoryBytes: number;
}

/** What one stage takes; seconds are null where nothing says them (a GPU). */
export interface StageEstimate {
  readonly directory: string;
  /** Tokens sampled, at most. */
  readonly sampled: number;
  /** Tokens trained on, at most. */
  readonly trained: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly seconds: number | null;
}

/** What a whole run takes: the most memory of a stage, and the sums of disk and time. */
export interface Estimate {
  readonly parameters: number;
  readonly stages: readonly StageEstimate[];
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly seconds: number | null;
}

/** Sustained by a core in training and, in decoding, read from memory by all of them (bench/, two AVX-512 cores). */
const FLOPS = { bf16: 200e9, f32: 65e9 } as const;
const MEMORY_BYTES_PER_S = 20e9;
const SECONDS_A_LAYER = 0.0005;
/** Node, libtorch and what its allocator keeps. */
const BASE_BYTES = 0.8e9;
const ROLLOUT_BYTES_A_TOKEN = 12;

interface Setting {
  readonly recipe: Recipe;
  readonly machine: Machine;
  readonly size: ModelSize;
  /** Bytes of a number in forward and backward. */
  readonly width: 2 | 4;
  readonly promptTokens: number;
}

/** Works out what a recipe takes, or null where the size of its model is not known here. */
export function estimate(recipe: Recipe, plan: Plan, machine: Machine): Estimate | null {
  const size = modelSize(recipe);
  if (size === null) return null;
  const { device, dtype, threads } = recipe.compute;
  const half = dtype === 'bf16' || (dtype === 'auto' && (machine.bf16 || device === 'cuda'));
  const setting: Setting = {
    recipe,
    machine: { ...machine, threads: threads === 'auto' ? machine.threads : threads },
    size,
    width: half ? 2 : 4,
    promptTokens: recipe.task.name === 'game24' ? 32 : 128,
  };
  const stages = plan.stages.map((planned, i) =>
    estimateStage(setting, recipe.stages[i]!, planned.directory, planned.numbers),
  );
  const seconds = stages.map((stage) => stage.seconds);
  return {
    parameters: size.parameters,
    stages,
    memoryBytes: Math.max(...stages.map((stage) => stage.memoryBytes)),
    diskBytes: stages.reduce((sum, stage) => sum + stage.diskBytes, 0),
    seconds: seconds.includes(null) ? null : seconds.reduce<number>((sum, one) => sum + (one ?? 0), 0),
  };
}

/** The estimate as lines of text; `free` are the bytes of disk that are left where runs go. */
export function formatEstimate(found: Estimate | null, machine: Machine, free: number): string {
  if (found === null) return 'estimate: the size of the model is not known here, so none is made';
  const time =
    found.seconds === null
      ? 'no estimate on a GPU or with servers'
      : `at most about ${formatDuration(found.seconds)} on this CPU (a GPU's is not estimated)`;
  const lines = [
    `memory  about ${formatBytes(found.memoryBytes)} of ${formatBytes(machine.memoryBytes)}${found.memoryBytes > machine.memoryBytes ? ', more than this machine has' : ''}`,
    `disk    about ${formatBytes(found.diskBytes)} of ${formatBytes(free)} free${found.diskBytes > free ? ', too little' : ''}`,
    `time    ${time}`,
  ];
  const sampled = found.stages.reduce((sum, stage) => sum + stage.sampled, 0);
  const trained = found.stages.reduce((sum, stage) => sum + stage.trained, 0);
  const tokens = `tokens  ${formatCount(sampled)} sampled, ${formatCount(trained)} trained on, at most`;
  return ['', `estimate for ${formatCount(found.parameters)} parameters:`, tokens, ...lines]
    .map((line, i) => (i < 2 ? line : `  ${line}`))
    .join('\n');
}

function estimateStage(
  setting: Setting,
  stage: Stage,
  directory: string,
  planned: Readonly<Record<string, number>>,
): StageEstimate {
  const { recipe, size } = setting;
  const numbers = withinBudget(stage, planned, recipe.sampling.maxCompletionTokens);
  const { trains } = kindOf(stage.type);
  const length = recipe.sampling.maxCompletionTokens;
  const rollouts =
    stage.type === 'evaluate' ? evaluated(recipe) : (numbers['rollouts'] ?? sampledSequences(stage, numbers));
  const sequences = numbers['sequences'] ?? rollouts * ('epochs' in stage ? Number(stage.epochs ?? 1) : 1);
  const sampled = rollouts * length;
  const trained = trains ? sequences * (length + setting.promptTokens) : 0;
  const trainable = trainableOf(stage, size);
  return {
    directory,
    sampled,
    trained,
    memoryBytes: BASE_BYTES + memoryOf(setting, stage, trainable, numbers),
    diskBytes: diskOf(setting, stage, trainable, sampled),
    seconds:
      recipe.compute.device === 'cuda' || (recipe.engine.kind === 'remote' && sampled > 0)
        ? null
        : secondsOf(setting, sampled, trained, numbers, rollouts),
  };
}

/** A stage that its budget of sampled tokens ends before its steps does a share of everything. */
function withinBudget(
  stage: Stage,
  numbers: Readonly<Record<string, number>>,
  length: number,
): Readonly<Record<string, number>> {
  const budget = 'budget' in stage ? stage.budget : undefined;
  const most = length * (numbers['rollouts'] ?? sampledSequences(stage, numbers));
  if (budget === undefined || most <= budget.generatedTokens) return numbers;
  const share = budget.generatedTokens / most;
  const counts = ['steps', 'rollouts', 'sequences', 'updates', 'checkpoints'];
  return Object.fromEntries(
    Object.entries(numbers).map(([name, value]) => [name, counts.includes(name) ? value * share : value]),
  );
}

/** Held-out problems times samples; splits that the recipe does not count are taken to hold a thousand. */
function evaluated({ task, evaluation }: Recipe): number {
  return (task.name === 'game24' ? 100 : 1000) * evaluation.samplesPerProblem;
}

function sampledSequences(stage: Stage, numbers: Readonly<Record<string, number>>): number {
  return kindOf(stage.type).samples ? (numbers['steps'] ?? 0) * (numbers['sequencesPerStep'] ?? 0) : 0;
}

function trainableOf(stage: Stage, size: ModelSize): number {
  if (!kindOf(stage.type).trains) return 0;
  const adapter = 'adapter' in stage ? stage.adapter : undefined;
  return adapter === undefined ? size.parameters : adapterParameters(adapter, size);
}

/** Weights, gradients and moments in f32, a copy in bf16, a reference, teachers, activations of a micro-batch, the cache. */
function memoryOf(
  { recipe, size, width, promptTokens }: Setting,
  stage: Stage,
  trainable: number,
  numbers: Readonly<Record<string, number>>,
): number {
  const weights = size.parameters * (4 + (width === 2 ? 2 : 0));
  const reference = 'reference' in stage && stage.reference === 'start' && trainable === size.parameters;
  const held =
    weights + (reference ? size.parameters * width : 0) + trainable * 12 + teacherBytes(stage, width);
  if (size.shape === null) return held * 1.15;
  const { layers, hiddenSize, intermediateSize, keyValueHeads, headDim } = size.shape;
  const tokens = 'microBatchTokens' in stage ? stage.microBatchTokens : 0;
  const activations = tokens * layers * (18 * hiddenSize + 6 * intermediateSize) * width;
  const rows = kindOf(stage.type).samples ? (numbers['sequencesPerStep'] ?? 256) : 0;
  const positions = recipe.sampling.maxCompletionTokens + promptTokens;
  const cache = rows * positions * 2 * layers * keyValueHeads * headDim * width;
  return held + Math.max(activations, cache);
}

function teacherBytes(stage: Stage, width: number): number {
  const teachers = [
    'teacher' in stage ? stage.teacher : null,
    'intrinsic' in stage ? (stage.intrinsic?.teacher ?? null) : null,
  ];
  return teachers.reduce(
    (sum, name) => sum + (typeof name === 'string' ? (sizeOf(name)?.parameters ?? 0) * width : 0),
    0,
  );
}

/** Checkpoints that stay, one more while it is written, and the rollouts as text. */
function diskOf({ recipe, size }: Setting, stage: Stage, trainable: number, sampled: number): number {
  const { keepLast, keepBest } = recipe.checkpoints;
  if (stage.type === 'prepare') return size.parameters * 4;
  if (trainable === 0) return sampled * ROLLOUT_BYTES_A_TOKEN;
  return (keepLast + keepBest + 1) * trainable * 12 + sampled * ROLLOUT_BYTES_A_TOKEN;
}

/** Six operations a weight and token in training, two in decoding; a decoding step takes at least its overhead. */
function secondsOf(
  { recipe, machine, size, width }: Setting,
  sampled: number,
  trained: number,
  numbers: Readonly<Record<string, number>>,
  rollouts: number,
): number {
  const flops = machine.threads * FLOPS[width === 2 && machine.bf16 ? 'bf16' : 'f32'];
  const training = (6 * size.parameters * trained) / flops;
  if (sampled === 0) return training;
  const rows = numbers['sequencesPerStep'] ?? 256;
  const passes = Math.ceil(rollouts / rows) * recipe.sampling.maxCompletionTokens;
  const floor = (size.parameters * width) / MEMORY_BYTES_PER_S + SECONDS_A_LAYER * (size.shape?.layers ?? 24);
  return training + (2 * size.parameters * sampled) / flops + passes * floor;
}
