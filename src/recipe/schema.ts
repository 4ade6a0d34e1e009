/** Owns the recipe's shape, its defaults and its key descriptions; knows no file and runs nothing. */

import * as z from 'zod';
import type { Recipe, Stage } from './recipe.ts';

const count = (): z.ZodInt => z.int().min(1);
const share = (): z.ZodNumber => z.number().min(0).max(1);

const taskSchema = z
  .strictObject({
    name: z.enum(['game24']).describe('which problems are posed and how answers are judged'),
    splitSeed: z.int().min(0).default(24).describe('fixes which problems are held out, whatever `seed` is'),
  })
  .describe('the task that is taught');

const modelInitSchema = z
  .strictObject({
    hiddenSize: count().default(192).describe('width of the residual stream'),
    layers: count().default(6).describe('decoder blocks'),
    heads: count().default(6).describe('query heads; hiddenSize / heads is the size of a head'),
    keyValueHeads: count().default(6).describe('key and value heads, a divisor of heads'),
    intermediateSize: count().default(512).describe('width of the gated feed-forward layer'),
    tieEmbeddings: z.boolean().default(true).describe('the output head is the embedding matrix'),
    maxPositions: count().default(512).describe('longest sequence, prompt and completion together'),
    ropeTheta: z.number().positive().default(10000).describe('base of the rotary frequencies'),
    rmsEps: z.number().positive().default(1e-6).describe('epsilon inside RMSNorm'),
    initializerRange: z
      .number()
      .positive()
      .default(0.02)
      .describe('standard deviation of the random embeddings; matrices follow from their shapes'),
  })
  .describe('a new model with random weights');

const modelSchema = z
  .strictObject({
    init: modelInitSchema.optional(),
    path: z.string().min(1).optional().describe('a model folder in Hugging Face format to start from'),
  })
  .describe('where the model comes from: `init` or `path`, one of the two');

const computeSchema = z
  .strictObject({
    device: z.enum(['auto', 'cpu', 'cuda']).default('auto').describe('auto takes CUDA where there is one'),
    dtype: z.enum(['auto', 'f32', 'bf16']).default('auto').describe('of the weights in forward and backward'),
    threads: z
      .union([z.literal('auto'), count()])
      .default('auto')
      .describe('CPU threads of libtorch; auto takes one for each core'),
  })
  .describe('where and in what precision to compute; fixed at the first start of a run');

const samplingSchema = z
  .strictObject({
    temperature: z.number().positive().default(1).describe('of training rollouts'),
    topP: z.number().positive().max(1).default(1).describe('share of probability kept; 1 keeps all'),
    maxCompletionTokens: count().default(256).describe('a completion is cut at this length'),
  })
  .describe('how training rollouts are sampled');

const evaluationSchema = z
  .strictObject({
    split: z.enum(['validation', 'test']).default('test').describe('which held-out problems'),
    samplesPerProblem: count().default(8).describe('completions for each problem'),
    temperature: z.number().positive().default(1).describe('of evaluation samples'),
  })
  .describe('how `evaluate` stages measure');

const checkpointsSchema = z
  .strictObject({
    every: count().default(50).describe('steps between checkpoints'),
    keepLast: count().default(2).describe('checkpoints kept for each stage'),
  })
  .describe('when training state is saved');

const label = (): z.ZodString =>
  z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/, 'lower-case letters, digits and -')
    .describe('names the stage in files, tables and `--set`');

const optimisation = {
  microBatchTokens: count()
    .default(16384)
    .describe('tokens, padding included, in one forward pass; no effect on results'),
  learningRate: z.number().positive().describe('peak learning rate of AdamW'),
  warmupSteps: z.int().min(0).default(0).describe('steps of linear warm-up, at most `steps`'),
  schedule: z.enum(['constant', 'linear', 'cosine']).describe('decay after the warm-up'),
  minLearningRateRatio: share().default(0).describe('learning rate at the end over its peak'),
  weightDecay: z.number().min(0).default(0).describe('decoupled weight decay of matrices'),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.95])
    .describe('decay rates of the moments of AdamW'),
  adamEpsilon: z.number().positive().default(1e-8).describe('added to the root of the second moment'),
  maxGradNorm: z.number().positive().default(1).describe('the gradient is clipped to this global norm'),
};

const prepareSchema = z
  .strictObject({ type: z.literal('prepare') })
  .describe('makes the problems, the tokenizer and the model that later stages start from');

const evaluateSchema = z
  .strictObject({ type: z.literal('evaluate'), label: label() })
  .describe('measures the current model on held-out problems');

const sftSchema = z
  .strictObject({
    type: z.literal('sft'),
    label: label().optional(),
    steps: count().describe('optimizer steps'),
    optimizerBatch: count().default(64).describe('sequences in one optimizer step'),
    ...optimisation,
    learningRate: optimisation.learningRate.default(1e-3),
    schedule: optimisation.schedule.default('cosine'),
  })
  .describe('supervised fine-tuning on solution traces');

const rewardSchema = z.strictObject({
  name: z.enum(['correct', 'format', 'process']).describe('which rule scores the completion'),
  weight: z.number().describe('its factor in the sum'),
});

const grpoSchema = z
  .strictObject({
    type: z.literal('grpo'),
    label: label().optional(),
    steps: count().describe('rollout steps: each samples, then updates'),
    promptsPerStep: count().default(8).describe('problems sampled for each step'),
    groupSize: count().default(8).describe('completions for each problem'),
    optimizerBatch: count()
      .optional()
      .describe(
        'sequences in one optimizer step, a divisor of promptsPerStep x groupSize; by default all of them',
      ),
    epochs: count().default(1).describe('passes over the rollouts of a step'),
    clip: z
      .strictObject({
        low: share().default(0.2).describe('the ratio is clipped below at 1 - low'),
        high: z.number().min(0).default(0.2).describe('the ratio is clipped above at 1 + high'),
      })
      .prefault({})
      .describe('clipping of the importance ratio'),
    kl: z
      .strictObject({
        beta: z.number().min(0).default(0).describe('weight of the KL term in the loss'),
        estimator: z
          .enum(['k1', 'k2', 'k3'])
          .default('k3')
          .describe("estimator of the KL (Schulman's names)"),
      })
      .prefault({})
      .describe('distance to the reference policy'),
    reference: z
      .enum(['none', 'start'])
      .default('none')
      .describe('`start`: the model that the stage begins with'),
    advantages: z
      .strictObject({
        scale: z
          .enum(['group', 'batch', 'none'])
          .default('group')
          .describe('what standard deviation divides'),
        epsilon: z.number().min(0).default(1e-4).describe('added to that standard deviation'),
      })
      .prefault({})
      .describe('rewards, centred on the mean of their group, become advantages'),
    lossDenominator: z
      .enum(['tokens', 'sequences', 'constant'])
      .default('tokens')
      .describe('what the summed loss is divided by'),
    rewards: z
      .array(rewardSchema)
      .min(1)
      .default([{ name: 'correct', weight: 1 }])
      .describe('rules that score a completion, summed by weight'),
    ...optimisation,
    learningRate: optimisation.learningRate.default(1e-4),
    schedule: optimisation.schedule.default('constant'),
  })
  .describe('group-relative policy optimisation');

const reportSchema = z
  .strictObject({ type: z.literal('report') })
  .describe('writes summary.json, report.md and report.html');

/** One entry of `stages`. */
const stageSchema = z.discriminatedUnion('type', [
  prepareSchema,
  evaluateSchema,
  sftSchema,
  grpoSchema,
  reportSchema,
]);

const schema = z.strictObject({
  version: z.literal(1).describe('version of the recipe format'),
  name: z
    .string()
    .max(100)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, `.`, `_` and -')
    .describe('name of the run and of its folder'),
  seed: z.int().min(0).default(0).describe('every random number follows from it'),
  task: taskSchema,
  model: modelSchema,
  compute: computeSchema.prefault({}),
  sampling: samplingSchema.prefault({}),
  evaluation: evaluationSchema.prefault({}),
  checkpoints: checkpointsSchema.prefault({}),
  stages: z.array(stageSchema).min(1).describe('what is done, in order'),
});

/** Version 1 of the recipe: what the YAML holds becomes a Recipe; the cross checks are in checks.ts. */
export const recipeSchema: z.ZodType<Recipe> = schema.transform(
  (parsed): Recipe => ({ ...parsed, stages: parsed.stages.map(fillDerived) }),
);

/** The schema as JSON Schema: what editors, documentation and the nearest-key search read. */
export function recipeJsonSchema(): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input' }) as JsonSchema;
}

/** The part of JSON Schema that the recipe uses. */
export interface JsonSchema {
  readonly description?: string;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

function fillDerived(stage: z.output<typeof stageSchema>): Stage {
  if (stage.type !== 'grpo') return stage;
  return { ...stage, optimizerBatch: stage.optimizerBatch ?? stage.promptsPerStep * stage.groupSize };
}
