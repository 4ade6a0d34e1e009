/** Owns the key `engine`: what samples completions, in this process or on servers, and what cannot work with servers. Asks no server. */

import * as z from 'zod';
import type { RecipeProblem } from './issues.ts';
import { parentIndex } from './lineage.ts';
import type { KeyPath } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import { count, problem } from './stages/kind.ts';
import { kindOf, type Stage } from './stages.ts';

/** What samples the completions of the policy, in training and in evaluation. */
export type EngineRecipe = LocalEngineRecipe | RemoteEngineRecipe;

/** The engine of this process. */
export interface LocalEngineRecipe {
  readonly kind: 'local';
}

/** vLLM servers of the base model that adapters are trained on. */
export interface RemoteEngineRecipe {
  readonly kind: 'remote';
  readonly servers: readonly string[];
  readonly model: string;
  readonly apiKeyEnv: string | null;
  readonly logprobs: 'raw' | 'processed';
  readonly adapters: { readonly folder?: string | undefined; readonly serverFolder?: string | undefined };
  readonly probe: { readonly tokens: number; readonly tolerance: number };
  readonly mismatch: number;
  readonly concurrency: number;
  readonly requestTimeoutS: number;
  readonly totalTimeoutS: number;
  readonly retries: number;
}

const nats = (): z.ZodNumber => z.number().positive();

const remoteSchema = z.strictObject({
  kind: z.literal('remote').describe('vLLM servers sample; the policy must be an adapter on their base'),
  servers: z
    .array(z.string().regex(/^https?:\/\/[^\s/]+/, 'http:// or https:// and an address'))
    .min(1)
    .describe('addresses of equal vLLM servers, http://host:8000 say'),
  model: z.string().min(1).describe('what the servers call the base model'),
  apiKeyEnv: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe("environment variable with the servers' key; null where they ask for none"),
  logprobs: z
    .enum(['raw', 'processed'])
    .default('raw')
    .describe(
      'what log-probabilities they give (--logprobs-mode); another temperature than 1 and top-p need processed',
    ),
  adapters: z
    .strictObject({
      folder: z
        .string()
        .min(1)
        .optional()
        .describe("where adapters are written for the servers; by default the stage's folder"),
      serverFolder: z
        .string()
        .min(1)
        .optional()
        .describe('the same folder as the servers see it, where that is another path'),
    })
    .prefault({})
    .describe('how the trained adapter gets to the servers: by a folder that they read'),
  probe: z
    .strictObject({
      tokens: count().default(16).describe('greedy tokens of the first prompt, after each update'),
      tolerance: nats().default(0.05).describe('largest mean |logp server - logp trainer| over them'),
    })
    .prefault({})
    .describe('how servers are held to serving the weights that were pushed'),
  mismatch: nats().default(0.05).describe("largest mean |logp server - logp trainer| of a step's rollouts"),
  concurrency: count().default(256).describe('completions asked for at once, over all servers'),
  requestTimeoutS: nats().default(600).describe('seconds for a completion, waiting at the server included'),
  totalTimeoutS: nats().default(3600).describe('seconds for all completions of a step'),
  retries: z.int().min(0).default(5).describe('further tries of a request that failed for the moment'),
});

/** The key's schema. */
export const engineSchema: z.ZodType<EngineRecipe> = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('local').describe('this process samples') }),
    remoteSchema,
  ])
  .prefault({ kind: 'local' })
  .describe('what samples completions of the policy: this process (local) or vLLM servers (remote)');

/** What servers cannot do: weights other than a base with a plain adapter, and numbers that they do not give. */
export function checkEngine(recipe: Recipe): RecipeProblem[] {
  const { engine, model, stages } = recipe;
  if (engine.kind === 'local') return [];
  const found: RecipeProblem[] = [];
  if (model.init !== undefined)
    found.push(
      problem(['engine', 'kind'], 'must be local with model.init, because no server has that model'),
    );
  if (recipe.sampling.weights === 'int8')
    found.push(problem(['sampling', 'weights'], 'must be full with engine.kind remote, found int8'));
  stages.forEach((stage, i) => {
    const { samples, trains } = kindOf(stage.type);
    if (!samples) return;
    if (trains) found.push(...checkAdapter(stage, ['stages', i]));
    const whole = chainOf(stages, i).find((at) => kindOf(stages[at]!.type).trains && !adapterOf(stages[at]!));
    if (whole !== undefined && whole !== i)
      found.push(
        problem(
          ['stages', whole, 'adapter'],
          `is missing, and ${name(stage, i)} samples from servers that have only the base and adapters on it`,
        ),
      );
    found.push(...checkNumbers(recipe, stage, i));
  });
  return found.filter((one, i) => found.findIndex((other) => other.message === one.message) === i);
}

/** The stages that made the model of a stage, itself included. */
function chainOf(stages: readonly Stage[], index: number): number[] {
  const parent = parentIndex(stages, index);
  return parent === null ? [index] : [index, ...chainOf(stages, parent)];
}

function adapterOf(stage: Stage): Extract<Stage, { type: 'grpo' }>['adapter'] {
  return 'adapter' in stage ? stage.adapter : undefined;
}

function checkAdapter(stage: Stage, path: KeyPath): RecipeProblem[] {
  const adapter = adapterOf(stage);
  const at: KeyPath = [...path, 'adapter'];
  if (!adapter)
    return [
      problem(at, 'is missing, and engine.kind remote needs one: servers get adapters, not whole models'),
    ];
  if (adapter.type === 'dora')
    return [problem([...at, 'type'], 'must be lora or rslora with engine.kind remote, found dora')];
  const odd = (['modulesToSave', 'rankPattern', 'alphaPattern'] as const).find(
    (key) => Object.keys(adapter[key]).length > 0,
  );
  return odd === undefined
    ? []
    : [
        problem(
          [...at, odd],
          'must be empty with engine.kind remote, because vLLM serves one rank and alpha',
        ),
      ];
}

/** Policy gradients weigh every token by the probability that it was sampled with. */
function checkNumbers({ engine, sampling }: Recipe, stage: Stage, index: number): RecipeProblem[] {
  if (engine.kind === 'local' || (stage.type !== 'grpo' && stage.type !== 'ppo')) return [];
  const found: RecipeProblem[] = [];
  const end = stage.type === 'grpo' ? (stage.temperatureEnd ?? 1) : 1;
  const { temperature, topP, topK, minP, repetitionPenalty, logitBias, minCompletionTokens } = sampling;
  const shaped = [topK, minP, repetitionPenalty, logitBias, minCompletionTokens].some(
    (one) => one !== undefined,
  );
  if (engine.logprobs === 'raw' && (temperature !== 1 || topP < 1 || end !== 1 || shaped)) {
    const reason = `because ${name(stage, index)} does not sample at temperature 1 and top-p 1 without filters`;
    const advice = 'start the servers with --logprobs-mode processed_logprobs';
    found.push(problem(['engine', 'logprobs'], `must be processed, ${reason}; ${advice}`));
  }
  if (stage.type === 'grpo' && !stage.importance.always) {
    const reason = 'because servers do not compute what the trainer does';
    found.push(
      problem(['stages', index, 'importance', 'always'], `must be true with engine.kind remote, ${reason}`),
    );
  }
  return found;
}

function name(stage: Stage, index: number): string {
  return `stages[${index}] (${stage.type})`;
}
