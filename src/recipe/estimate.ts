/**
 * Owns what a recipe will take on a machine, in memory, disk and time, worked out from its numbers and what is known of its
 * data. Rough on purpose: completions are taken to run to two thirds of their limit, speeds are those of bench/ on two
 * cores. Measures nothing; `npm run bench -- estimate` sets it beside real runs.
 */

import { formatBytes, formatCount, formatDuration } from '../util/format.ts';
import { checkpointBytesOf, diskOf, trainableOf } from './estimate-disk.ts';
import { modelStage } from './lineage.ts';
import { type ModelSize, modelSize, sizeAt, sizeOf } from './model-size.ts';
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

/** What is known of a task's data: problems a split, mean tokens of prompts and of worked solutions. */
export interface TaskFacts {
  readonly counts: Readonly<Record<'train' | 'validation' | 'test', number>>;
  readonly promptTokens: number;
  readonly solutionTokens: number;
}

/** What one stage takes; seconds are null where nothing says them (a GPU). */
export interface StageEstimate {
  readonly directory: string;
  /** Optimizer steps or, where it samples, rollout steps. */
  readonly steps: number;
  /** Tokens sampled, about; and where every completion runs to its limit. */
  readonly sampled: number;
  readonly sampledMost: number;
  /** Tokens trained on, prompts included, about. */
  readonly trained: number;
  readonly memoryBytes: number;
  /** What stays of it; a checkpoint more is there while it is written. */
  readonly diskBytes: number;
  readonly checkpointBytes: number;
  readonly seconds: number | null;
}

/** What a whole run takes: the most memory of a stage, and the sums of disk and time. */
export interface Estimate {
  readonly parameters: number;
  readonly stages: readonly StageEstimate[];
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** With the largest checkpoint twice: what must be free. */
  readonly diskPeakBytes: number;
  readonly seconds: number | null;
}

/** Sustained by a core in training and, in decoding, read from memory by all of them (bench/, two AVX-512 cores). */
const FLOPS = { bf16: 200e9, f32: 65e9 } as const;
const MEMORY_BYTES_PER_S = 20e9;
const SECONDS_A_LAYER = 0.0005;
/** Node, libtorch and what its allocator keeps. */
const BASE_BYTES = 0.38e9;
/** Loading libtorch, and what a stage, a step and a checkpoint take however small the model is. */
const START_S = 0.5;
const STAGE_S = 0.07;
const STEP_S = 0.03;
const CHECKPOINT_S = 0.03;
/** Completions end by themselves before their limit; measured shares of it lie between 0.4 and 0.8. */
const SHARE_OF_LIMIT = 2 / 3;

/** What the estimate of a stage is worked out from. */
export interface Setting {
  readonly recipe: Recipe;
  readonly machine: Machine;
  readonly facts: TaskFacts;
  /** Of the model that the stage starts from. */
  readonly size: ModelSize;
  /** Bytes of a number in forward and backward. */
  readonly width: 2 | 4;
  readonly index: number;
}

/**
 * Works out what a recipe takes, or null where the size of its model is not known here. Without facts of its data, those of
 * the task's usual data set are taken.
 */
export function estimate(
  recipe: Recipe,
  plan: Plan,
  machine: Machine,
  facts: TaskFacts = usualFacts(recipe),
): Estimate | null {
  const size = modelSize(recipe);
  if (size === null) return null;
  const { device, dtype, threads } = recipe.compute;
  const half = dtype === 'bf16' || (dtype === 'auto' && (machine.bf16 || device === 'cuda'));
  const stages = plan.stages.map((planned, index) => {
    const setting: Setting = {
      recipe,
      machine: { ...machine, threads: threads === 'auto' ? machine.threads : threads },
      facts,
      size: sizeAt(recipe, index) ?? size,
      width: half ? 2 : 4,
      index,
    };
    return estimateStage(setting, recipe.stages[index]!, planned.directory, planned.numbers);
  });
  const seconds = stages.map((stage) => stage.seconds);
  const diskBytes = stages.reduce((sum, stage) => sum + stage.diskBytes, 0);
  return {
    parameters: size.parameters,
    stages,
    memoryBytes: Math.max(...stages.map((stage) => stage.memoryBytes)),
    diskBytes,
    diskPeakBytes: diskBytes + Math.max(...stages.map((stage) => stage.checkpointBytes)),
    seconds: seconds.includes(null) ? null : seconds.reduce<number>((sum, one) => sum + (one ?? 0), START_S),
  };
}

/** The estimate as lines of text; `free` are the bytes of disk that are left where runs go. */
export function formatEstimate(found: Estimate | null, machine: Machine, free: number): string {
  if (found === null) return 'estimate: the size of the model is not known here, so none is made';
  const time =
    found.seconds === null
      ? 'no estimate on a GPU or with servers'
      : `about ${formatDuration(found.seconds)} on this CPU (a GPU's is not estimated)`;
  const lines = [
    `memory  about ${formatBytes(found.memoryBytes)} of ${formatBytes(machine.memoryBytes)}${found.memoryBytes > machine.memoryBytes ? ', more than this machine has' : ''}`,
    `disk    about ${formatBytes(found.diskBytes)} of ${formatBytes(free)} free${found.diskPeakBytes > free ? ', too little' : ''}`,
    `time    ${time}`,
  ];
  const total = (read: (stage: StageEstimate) => number) =>
    found.stages.reduce((sum, stage) => sum + read(stage), 0);
  const [sampled, most, trained] = [
    total((s) => s.sampled),
    total((s) => s.sampledMost),
    total((s) => s.trained),
  ];
  const tokens = `tokens  about ${formatCount(sampled)} sampled (at most ${formatCount(most)}), ${formatCount(trained)} trained on`;
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
  const { recipe, size, facts } = setting;
  const limit = recipe.sampling.maxCompletionTokens;
  const length = SHARE_OF_LIMIT * limit;
  const numbers = withinBudget(stage, withData(stage, planned, setting), length);
  const { trains } = kindOf(stage.type);
  const rollouts =
    stage.type === 'evaluate'
      ? evaluated(setting)
      : (numbers['rollouts'] ?? sampledSequences(stage, numbers));
  const epochs = 'epochs' in stage && stage.type !== 'sft' ? Number(stage.epochs ?? 1) : 1;
  const sequences = numbers['sequences'] ?? rollouts * epochs;
  const trainedLength = facts.promptTokens + (rollouts > 0 ? length : facts.solutionTokens);
  const trained = trains ? sequences * trainedLength : 0;
  const trainable = trainableOf(stage, size);
  const checkpointBytes = checkpointBytesOf(setting, stage, trainable);
  const sampled = rollouts * length;
  return {
    directory,
    steps: trains ? (numbers['steps'] ?? 0) : 0,
    sampled,
    sampledMost: rollouts * limit,
    trained,
    memoryBytes: BASE_BYTES + memoryOf(setting, stage, trainable, numbers),
    diskBytes: diskOf(setting, stage, checkpointBytes, { rollouts, sampled, steps: numbers['steps'] ?? 0 }),
    checkpointBytes: trains ? checkpointBytes : 0,
    seconds:
      recipe.compute.device === 'cuda' || (recipe.engine.kind === 'remote' && sampled > 0)
        ? null
        : secondsOf(setting, sampled, trained, numbers, rollouts),
  };
}

/** A stage that passes over the data: steps and sequences follow from how much there is. */
function withData(
  stage: Stage,
  numbers: Readonly<Record<string, number>>,
  { recipe, facts }: Setting,
): Readonly<Record<string, number>> {
  const extent = (passes: number, count: number) => {
    const items = facts.counts.train * passes;
    const steps = Math.ceil(items / count);
    return { items, steps, checkpoints: Math.ceil(steps / recipe.checkpoints.every) };
  };
  if (stage.type === 'sft' && stage.steps === undefined && stage.dataFile === undefined) {
    const { items: sequences, steps, checkpoints } = extent(stage.epochs ?? 1, stage.optimizerBatch);
    return { ...numbers, steps, updates: steps, sequences, checkpoints };
  }
  if (!('dataEpochs' in stage) || stage.dataEpochs === undefined) return numbers;
  if (stage.type === 'dpo' && stage.pairsFile !== undefined) return numbers;
  const { items, steps, checkpoints } = extent(stage.dataEpochs, stage.promptsPerStep);
  const updates = steps * (numbers['updatesPerStep'] ?? 0);
  return { ...numbers, steps, rollouts: items * stage.groupSize, updates, checkpoints };
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

function evaluated({ recipe: { evaluation }, facts }: Setting): number {
  return facts.counts[evaluation.split] * evaluation.samplesPerProblem;
}

/** Of the data that each task has by default; a thousand where the recipe alone does not say. */
function usualFacts({ task, model }: Recipe): TaskFacts {
  const few = 'splits' in task ? task.splits?.validation : undefined;
  const validation = typeof few === 'number' ? few : 1000;
  const subset = 'subset' in task && typeof task.subset === 'number' ? task.subset : Number.POSITIVE_INFINITY;
  const counts = (train: number, test: number) => ({ train: Math.min(train, subset), validation, test });
  // Characters, or tokens of some 3.5 characters.
  const scale = model.init === undefined ? 1 / 3.5 : 1;
  if (task.name === 'game24') {
    const solution = { compact: 65, v1: 290, v2: 423, v3: 602 }[task.format];
    const split = task.split === 'default' ? counts(1162, 100) : counts(1262, 100);
    return {
      counts: { ...split, validation: 100 },
      promptTokens: 10,
      solutionTokens: solution * Math.max(scale, 0.6),
    };
  }
  const sizes = { gsm8k: counts(7473, 1319), math: counts(7500, 5000), numina: counts(72_000, 100) };
  const known = task.name in sizes ? sizes[task.name as keyof typeof sizes] : counts(1000, 1000);
  return {
    counts: known,
    promptTokens: 450 * scale,
    solutionTokens: (task.name === 'gsm8k' ? 400 : 900) * scale,
  };
}

function sampledSequences(stage: Stage, numbers: Readonly<Record<string, number>>): number {
  return kindOf(stage.type).samples ? (numbers['steps'] ?? 0) * (numbers['sequencesPerStep'] ?? 0) : 0;
}

/** Weights, gradients and moments in f32, a copy in bf16, a reference, teachers, activations of a micro-batch, the cache. */
function memoryOf(
  setting: Setting,
  stage: Stage,
  trainable: number,
  numbers: Readonly<Record<string, number>>,
): number {
  const { recipe, size, width, facts } = setting;
  const weights = size.parameters * (4 + (width === 2 ? 2 : 0));
  const reference = 'reference' in stage && stage.reference === 'start' && trainable === size.parameters;
  const held =
    weights + (reference ? size.parameters * width : 0) + trainable * 12 + teacherBytes(setting, stage);
  if (size.shape === null) return held * 1.15;
  const { layers, hiddenSize, intermediateSize, keyValueHeads, headDim } = size.shape;
  const tokens = 'microBatchTokens' in stage ? stage.microBatchTokens : 0;
  const activations = tokens * layers * (18 * hiddenSize + 6 * intermediateSize) * width;
  const evaluation = stage.type === 'evaluate' ? Math.min(EVALUATION_ROWS, evaluated(setting)) : 256;
  const rows = kindOf(stage.type).samples ? (numbers['sequencesPerStep'] ?? evaluation) : 0;
  const positions = recipe.sampling.maxCompletionTokens + facts.promptTokens;
  const cache = rows * positions * 2 * layers * keyValueHeads * headDim * width;
  return held + Math.max(activations, cache);
}

/** Sequences at once in an evaluation. */
const EVALUATION_ROWS = 512;

function teacherBytes({ recipe, width, index }: Setting, stage: Stage): number {
  const teachers = [
    'teacher' in stage ? stage.teacher : null,
    'intrinsic' in stage ? (stage.intrinsic?.teacher ?? null) : null,
  ];
  const own = (name: string): ModelSize | null => {
    const made = modelStage(recipe.stages, name, index);
    return made === null ? sizeOf(name) : sizeAt(recipe, made);
  };
  return teachers.reduce(
    (sum, name) => sum + (typeof name === 'string' ? (own(name)?.parameters ?? 0) * width : 0),
    0,
  );
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
  const small = STAGE_S + (numbers['updates'] ?? 0) * STEP_S + (numbers['checkpoints'] ?? 0) * CHECKPOINT_S;
  const training = small + (6 * size.parameters * trained) / flops;
  if (sampled === 0) return training;
  const rows = numbers['sequencesPerStep'] ?? 256;
  const passes = Math.ceil(rollouts / rows) * recipe.sampling.maxCompletionTokens;
  const floor = (size.parameters * width) / MEMORY_BYTES_PER_S + SECONDS_A_LAYER * (size.shape?.layers ?? 24);
  return training + (2 * size.parameters * sampled) / flops + passes * floor;
}
