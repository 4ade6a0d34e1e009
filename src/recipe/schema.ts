/** Owns the recipe's shape, its defaults and its key descriptions; knows no file and runs nothing. */

import * as z from 'zod';
import { LEAST_TEMPERATURE } from '../generate/sampling.ts';
import { type EngineRecipe, engineSchema } from './engine.ts';
import { modelInitSchema } from './model-init.ts';
import type { Recipe } from './recipe.ts';
import { count, type StageKind } from './stages/kind.ts';
import { kindOf, type Stage, stageTypes } from './stages.ts';
import { taskSchema } from './task.ts';
import { trackingSchema } from './tracking.ts';

const modelSchema = z
  .strictObject({
    init: modelInitSchema.optional(),
    path: z.string().min(1).optional().describe('a model folder in Hugging Face format to start from'),
  })
  .describe('where the model comes from: `init` or `path`, one of the two');

const computeSchema = z
  .strictObject({
    device: z
      .enum(['auto', 'cpu', 'cuda'])
      .default('auto')
      .describe(
        'auto takes CUDA where there is one, and spreads a teacher and a reference over further GPUs',
      ),
    dtype: z.enum(['auto', 'f32', 'bf16']).default('auto').describe('of the weights in forward and backward'),
    threads: z
      .union([z.literal('auto'), count()])
      .default('auto')
      .describe('CPU threads of libtorch; auto takes one for each core'),
    gradientCheckpointing: z
      .boolean()
      .optional()
      .describe('training computes every block twice and keeps the memory of one; default false'),
  })
  .describe('where and in what precision to compute; fixed at the first start of a run');

const samplingSchema = z
  .strictObject({
    temperature: z.number().min(LEAST_TEMPERATURE).default(1).describe('of training rollouts'),
    topP: z.number().positive().max(1).default(1).describe('share of probability kept; 1 keeps all'),
    topK: count().optional().describe('as many of the likeliest tokens; all by default'),
    minP: z.number().positive().max(1).optional().describe('tokens this share as likely as the likeliest'),
    repetitionPenalty: z
      .number()
      .positive()
      .optional()
      .describe('makes tokens that stood before less likely where above 1; corrected by importance weights'),
    logitBias: z
      .record(z.string().regex(/^(0|[1-9][0-9]*)$/, 'a token id'), z.number().min(-100).max(100))
      .optional()
      .describe('added to the logits of token ids, -100 all but bans one; corrected by importance weights'),
    minCompletionTokens: count()
      .optional()
      .describe('no completion ends by itself before it has as many; corrected by importance weights'),
    stop: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe('texts that end a completion and stay in it, beside those of the task'),
    maxCompletionTokens: count().default(256).describe('a completion is cut at this length'),
    prefillChunk: count()
      .optional()
      .describe('tokens of a prompt in one pass, others decoding in between; whole prompts by default'),
    weights: z
      .enum(['full', 'int8'])
      .optional()
      .describe('int8 samples with the matrices rounded to 8 bit, corrected by importance weights'),
  })
  .describe('how training rollouts are sampled');

const evaluationSchema = z
  .strictObject({
    split: z.enum(['validation', 'test']).default('test').describe('which held-out problems'),
    samplesPerProblem: count().default(8).describe('completions for each problem'),
    temperature: z.number().min(LEAST_TEMPERATURE).default(1).describe('of evaluation samples'),
  })
  .describe('how `evaluate` stages measure');

const checkpointsSchema = z
  .strictObject({
    every: count().default(50).describe('steps between checkpoints'),
    keepLast: count().default(2).describe('newest checkpoints kept for each stage'),
    keepBest: z
      .int()
      .min(0)
      .default(0)
      .describe('checkpoints kept beside these for their validation accuracy (or loss, or reward)'),
  })
  .describe('when training state is saved');

/** One entry of `stages`. */
const stageSchema = z.discriminatedUnion(
  'type',
  stageTypes.map((type) => kindOf(type).schema) as [z.ZodObject, ...z.ZodObject[]],
);

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
  engine: engineSchema,
  evaluation: evaluationSchema.prefault({}),
  checkpoints: checkpointsSchema.prefault({}),
  tracking: trackingSchema.prefault({}),
  stages: z.array(stageSchema).min(1).describe('what is done, in order'),
});

/** Version 1 of the recipe: what the YAML holds becomes a Recipe; the cross checks are in checks.ts. */
export const recipeSchema: z.ZodType<Recipe> = schema.transform(
  (parsed): Recipe => ({
    ...parsed,
    stages: parsed.stages.map((stage) => fillDerived(stage, parsed.engine)),
  }),
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

function fillDerived(parsed: Readonly<Record<string, unknown>>, engine: EngineRecipe): Stage {
  const stage = parsed as unknown as Stage;
  const { derive } = kindOf(stage.type) as StageKind<Stage>;
  return derive ? derive(stage, engine) : stage;
}
