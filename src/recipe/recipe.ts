/** Owns the Recipe type: what a run is told to do, every default filled in. Knows neither YAML nor validation. */

import type { EngineRecipe } from './engine.ts';
import type { Stage } from './stages.ts';
import type { TaskRecipe } from './task.ts';
import type { TrackingRecipe } from './tracking.ts';

/** A whole recipe. Batch numbers count sequences unless they say tokens. */
export interface Recipe {
  readonly version: 1;
  readonly name: string;
  readonly seed: number;
  readonly task: TaskRecipe;
  readonly model: ModelRecipe;
  readonly compute: ComputeRecipe;
  readonly sampling: SamplingRecipe;
  readonly engine: EngineRecipe;
  readonly evaluation: EvaluationRecipe;
  readonly checkpoints: CheckpointsRecipe;
  readonly tracking: TrackingRecipe;
  readonly stages: readonly Stage[];
}

/** Where the model comes from; exactly one of the two is set. */
export interface ModelRecipe {
  readonly init?: ModelInit | undefined;
  readonly path?: string | undefined;
}

/** The architecture of a model that starts with random weights. */
export interface ModelInit {
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly intermediateSize: number;
  readonly tieEmbeddings: boolean;
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly rmsEps: number;
  readonly initializerRange: number;
}

/** What was asked for; what a run settled on is `ResolvedCompute` in src/train/context.ts. */
export interface ComputeRecipe {
  readonly device: 'auto' | 'cpu' | 'cuda';
  readonly dtype: 'auto' | 'f32' | 'bf16';
  readonly threads: 'auto' | number;
  readonly gradientCheckpointing?: boolean | undefined;
}

/** How training rollouts are sampled. */
export interface SamplingRecipe {
  readonly temperature: number;
  readonly topP: number;
  readonly maxCompletionTokens: number;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly repetitionPenalty?: number | undefined;
  /** By token id. */
  readonly logitBias?: Readonly<Record<string, number>> | undefined;
  readonly minCompletionTokens?: number | undefined;
  /** Texts that end a completion, beside those of the task. */
  readonly stop?: readonly string[] | undefined;
  /** Tokens of a prompt in one pass; absent, whole prompts. */
  readonly prefillChunk?: number | undefined;
  /** Of the policy's copy that samples; absent, its full weights. */
  readonly weights?: 'full' | 'int8' | undefined;
}

/** How `evaluate` stages measure. */
export interface EvaluationRecipe {
  readonly split: 'validation' | 'test';
  readonly samplesPerProblem: number;
  readonly temperature: number;
}

/** When training state is saved. */
export interface CheckpointsRecipe {
  readonly every: number;
  readonly keepLast: number;
  readonly keepBest: number;
}

/** The label of a stage, or null where it has none. */
export function labelOf(stage: Stage): string | null {
  return 'label' in stage ? (stage.label ?? null) : null;
}

/** The folder of a stage inside its run, `01-prepare`, `03-sft`, `04-evaluate-sft`; `index` counts from 0. */
export function stageDirectoryName(stage: Stage, index: number): string {
  const label = labelOf(stage);
  const number = String(index + 1).padStart(2, '0');
  return label === null ? `${number}-${stage.type}` : `${number}-${stage.type}-${label}`;
}
