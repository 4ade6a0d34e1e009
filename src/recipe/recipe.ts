/** Owns the Recipe types: what a run is told to do, every default filled in. Knows neither YAML nor validation. */

/** A whole recipe. Batch numbers count sequences unless they say tokens. */
export interface Recipe {
  readonly version: 1;
  readonly name: string;
  readonly seed: number;
  readonly task: TaskRecipe;
  readonly model: ModelRecipe;
  readonly compute: ComputeRecipe;
  readonly sampling: SamplingRecipe;
  readonly evaluation: EvaluationRecipe;
  readonly checkpoints: CheckpointsRecipe;
  readonly stages: readonly Stage[];
}

/** Which problems are posed, and the seed of their split. */
export interface TaskRecipe {
  readonly name: 'game24';
  readonly splitSeed: number;
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
}

/** How training rollouts are sampled. */
export interface SamplingRecipe {
  readonly temperature: number;
  readonly topP: number;
  readonly maxCompletionTokens: number;
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
}

/** What every trained stage says about AdamW and its schedule. */
export interface OptimisationRecipe {
  readonly steps: number;
  readonly optimizerBatch: number;
  readonly microBatchTokens: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  readonly minLearningRateRatio: number;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly adamEpsilon: number;
  readonly maxGradNorm: number;
}

/** Makes the problems, the tokenizer and the model that later stages start from. */
export interface PrepareStage {
  readonly type: 'prepare';
}

/** Measures the current model on held-out problems. */
export interface EvaluateStage {
  readonly type: 'evaluate';
  readonly label: string;
}

/** Supervised fine-tuning on solution traces. */
export interface SftStage extends OptimisationRecipe {
  readonly type: 'sft';
  readonly label?: string | undefined;
}

/** A reward of the task by name, and its factor in the sum. */
export interface RewardRecipe {
  readonly name: 'correct' | 'format' | 'process';
  readonly weight: number;
}

/** Group-relative policy optimisation; `steps` counts rollout steps. */
export interface GrpoStage extends OptimisationRecipe {
  readonly type: 'grpo';
  readonly label?: string | undefined;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly epochs: number;
  readonly clip: { readonly low: number; readonly high: number };
  readonly kl: { readonly beta: number; readonly estimator: 'k1' | 'k2' | 'k3' };
  readonly reference: 'none' | 'start';
  readonly advantages: { readonly scale: 'group' | 'batch' | 'none'; readonly epsilon: number };
  readonly lossDenominator: 'tokens' | 'sequences' | 'constant';
  readonly rewards: readonly RewardRecipe[];
}

/** Writes summary.json, report.md and report.html. */
export interface ReportStage {
  readonly type: 'report';
}

/** One stage of a recipe, told apart by `type`. */
export type Stage = PrepareStage | EvaluateStage | SftStage | GrpoStage | ReportStage;
/** The words that `type` may be. */
export type StageType = Stage['type'];
/** The stage of one type. */
export type StageOf<T extends StageType> = Extract<Stage, { type: T }>;

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
