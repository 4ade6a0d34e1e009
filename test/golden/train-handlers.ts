/** Owns the golden cases of whole training runs: the trainers' parts in the reference's order of examples. */

import { join } from 'node:path';
import type { MaybeReward } from '../../src/advantages/index.ts';
import type { PairText, SupervisedExample } from '../../src/data/training-rows.ts';
import { type Decoder, openPolicy } from '../../src/models/index.ts';
import { trainableParameters } from '../../src/nn/index.ts';
import { AdamW, clipGradNorm, warmupStepsOf } from '../../src/optim/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { noGrad, scope, type Tensor, tensor } from '../../src/torch/index.ts';
import { accumulateCrossEntropy } from '../../src/train/cross-entropy.ts';
import { cutMicroBatches, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { encodePair, pairSequences } from '../../src/train/pairs.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  recordedLogps,
  type UpdateSums,
} from '../../src/train/policy-update.ts';
import { SupervisedRows, sequenceOf } from '../../src/train/supervised-rows.ts';
import { mean } from '../../src/util/statistics.ts';
import { type Case, type Got, type Handlers, root, type Tensors } from './case.ts';
import { trainableModel } from './model-step.ts';
import { rateAt } from './optim-handlers.ts';
import { pairStep } from './pair-step.ts';
import { lossOf, optionsOf, weightsOf } from './policy-handlers.ts';
import { scoredGroups } from './rl-handlers.ts';
import { metricsOf } from './sft-handlers.ts';
import { logpsOf, rectangle } from './step-handlers.ts';

export const trainHandlers: Handlers = {
  'train.sft': (one) => supervised(one, trainableModel(one)),
  'train.sft_lora': (one, inputs) => supervised(one, adaptedModel(one, inputs)),
  'train.dpo': (one) => {
    const { params } = one;
    if ([params['loss_type'] ?? []].flat().length > 1) return 'of mixed losses, which losses/dpo has';
    const tokenizer = loadTokenizer(join(root, one.uses['model']!));
    const pairs = (one.inputs['examples']!.value as PairText[]).map((pair) => encodePair(tokenizer, pair));
    using start = trainableModel(one, 'ref_model');
    using reference = start.snapshot();
    const model = trainableModel(one);
    return trained(one, model, windowsOf(params, pairs), (window) => {
      const parts = slices(window, params['per_device_train_batch_size']);
      const steps = parts.map((part) => pairStep(one, model, reference, part, 1 / parts.length));
      return {
        loss: mean(steps.map(({ loss }) => loss)),
        tokens: tokensOf(pairSequences(window)),
        metrics: averaged(steps.map(({ metrics }) => metrics)),
      };
    });
  },
  'train.grpo': (one) => {
    const params: Case['params'] = {
      ...one.params,
      epsilon_low: one.params['epsilon'] ?? 0.2,
      epsilon_high: one.params['epsilon_high'] ?? one.params['epsilon'] ?? 0.2,
      // The micro-batches of an optimizer step are counted together.
      current_gradient_accumulation_steps: 1,
      steps_per_generation: 1,
    };
    const reuse: number = params['num_iterations'] ?? 1;
    const temperature: number = params['temperature'] ?? 1;
    const generations = (one.inputs['rollouts']!.value as Generation[]).flatMap((generation) =>
      Array.from({ length: reuse }, (_, use) => ({ generation, use })),
    );
    using start = trainableModel(one, 'ref_model');
    using reference = params['beta'] === 0 ? null : start.snapshot();
    let old: Float32Array[] = [];
    let before: number[][] = [];
    const model = trainableModel(one);
    const eos = loadTokenizer(join(root, one.uses['model']!)).eosId;
    return trained(one, model, generations.slice(0, params['max_steps']), ({ generation, use }) => {
      const { all, counts, metrics } = rolloutsOf(generation, params, eos);
      // What does not count is left out, and the denominators know of it.
      const sequences = all.filter((_, b) => counts[b]);
      const batches = cutMicroBatches(sequences, 64, model.config.padTokenId ?? 0);
      const rollouts = { prompts: generation.prompt_ids, completions: generation.completion_ids };
      const now = logpsOf(model, rollouts, temperature);
      if (use === 0) {
        old = recordedLogps(model, batches, temperature);
        before = now.logps;
      }
      const lengths = all.map(({ completionIds }, b) => (counts[b] ? completionIds.length : 0));
      const given = { ...params, num_items_in_batch: lengths.reduce((sum, length) => sum + length, 0) };
      const sums = accumulatePolicyGradient({
        policy: model,
        reference,
        sequences,
        batches,
        weights: weightsOf(given, lengths).filter((_, b) => counts[b]),
        oldLogps: reuse > 1 ? old : null,
        temperature,
        truncated: false,
        loss: { ...optionsOf(given, {}), topEntropyShare: params['top_entropy_quantile'] ?? 1 },
      });
      const references = reference && logpsOf(reference, rollouts, temperature).logps;
      return {
        loss: sums.loss,
        tokens: use === 0 ? tokensOf(all) : 0,
        metrics: {
          ...metrics,
          'rewards/reward/mean': metrics['reward'],
          'rewards/reward/std': metrics['reward_std'],
          ...batchMetrics(given, all, lengths, { now, old: reuse > 1 ? before : null, references }),
          ...updateMetrics(sums, given),
        },
      };
    });
  },
};

/** What the trainer itself measures, in TRL's words: means over tokens. */
function updateMetrics(sums: UpdateSums, params: Case['params']): Got {
  const tokens = Math.max(1, sums.targets);
  const byToken = (params['importance_sampling_level'] ?? 'token') === 'token';
  const clipped = params['loss_type'] === 'cispo' ? 'cispo_clip_ratio' : 'clip_ratio/region_mean';
  return {
    entropy: sums.entropy / tokens,
    ...(sums.kl === null ? {} : { kl: sums.kl / tokens }),
    ...(byToken ? { [clipped]: sums.clipped / tokens } : {}),
  };
}

/** What TRL logs of a batch, of rectangles as it has them. */
function batchMetrics(
  params: Case['params'],
  sequences: readonly PolicySequence[],
  lengths: readonly number[],
  logps: {
    readonly now: ReturnType<typeof logpsOf>;
    readonly old: readonly number[][] | null;
    readonly references: readonly number[][] | null;
  },
): Got {
  const width = Math.max(...sequences.map(({ completionIds }) => completionIds.length));
  return scope(() => {
    const counted = lengths.map((length) => new Array<number>(length).fill(1));
    const inputs = new Map([
      ['completion_mask', rectangle(counted, width)],
      ['per_token_logps', rectangle(logps.now.logps, width)],
      ['entropies', rectangle(logps.now.entropies, width)],
      ['advantages', tensor(sequences.map(({ advantage }) => advantage))],
    ]);
    if (logps.old) inputs.set('old_per_token_logps', rectangle(logps.old, width));
    if (logps.references) inputs.set('ref_per_token_logps', rectangle(logps.references, width));
    return lossOf({ params }, inputs, 'f32', {})['metrics'] as Got;
  });
}

/** Supervised fine-tuning of whatever the model trains; takes the model over. */
function supervised(one: Case, model: Decoder): Got {
  const { params } = one;
  const tokenizer = loadTokenizer(join(root, one.uses['model']!));
  const rows = new SupervisedRows(tokenizer, {
    completionOnly: params['completion_only_loss'] ?? true,
    assistantOnly: false,
    maxLength: params['max_length'],
  });
  const examples = (one.inputs['examples']!.value as SupervisedExample[]).flatMap((example) => {
    const row = rows.row(example);
    return row ? [sequenceOf(row)] : [];
  });
  const kind = params['loss_type'] === 'dft' ? 'dft' : 'nll';
  return trained(one, model, windowsOf(params, examples), (window) => {
    const parts = slices(window, params['per_device_train_batch_size']);
    const { entropy, mean_token_accuracy } = averaged(
      parts.map((part) => metricsOf(model, part.map(labelled))),
    );
    const batches = cutMicroBatches(window, 64, model.config.padTokenId ?? 0);
    return {
      loss: accumulateCrossEntropy(model, batches, { kind }).loss,
      tokens: tokensOf(window),
      metrics: { entropy, mean_token_accuracy },
    };
  });
}

/** The reference averages its measurements over the micro-batches of a window. */
function averaged(parts: readonly Got[]): Got {
  const names = Object.keys(parts[0]!);
  return Object.fromEntries(names.map((name) => [name, mean(parts.map((part) => part[name] as number))]));
}

/** The examples of each optimizer step, over all epochs; the last window of an epoch may be smaller. */
function windowsOf<T>(params: Case['params'], examples: readonly T[]): T[][] {
  const size = params['per_device_train_batch_size'] * (params['gradient_accumulation_steps'] ?? 1);
  const epoch = slices(examples, size);
  const windows = Array.from({ length: params['num_train_epochs'] ?? 1 }, () => epoch).flat();
  return params['max_steps'] > 0 ? windows.slice(0, params['max_steps']) : windows;
}

/** The case's model with a new adapter that begins as the case says. */
function adaptedModel(one: Case, inputs: Tensors): Decoder {
  const lora = one.params['lora'];
  const model = openPolicy(join(root, one.uses['model']!), {
    dtype: 'f32',
    computeDtype: 'f32',
    device: 'cpu',
    seed: 0,
    adapter: {
      type: lora['use_dora'] ? 'dora' : lora['use_rslora'] ? 'rslora' : 'lora',
      rank: lora['r'],
      alpha: lora['lora_alpha'],
      dropout: lora['lora_dropout'] ?? 0,
      targetModules: lora['target_modules'],
      modulesToSave: lora['modules_to_save'] ?? [],
      rankPattern: lora['rank_pattern'] ?? {},
      alphaPattern: lora['alpha_pattern'] ?? {},
      init: 'default',
    },
  });
  noGrad(() =>
    scope(() => {
      for (const [name, value] of trainableParameters(model)) value.copy_(inputs.get(`initial.${name}`)!);
    }),
  );
  return model;
}

interface Generation {
  readonly prompt_ids: readonly number[][];
  readonly completion_ids: readonly number[][];
  readonly rewards: readonly (MaybeReward | MaybeReward[])[];
}

/** The sequences of a generation with their advantages; no log-probability comes from an engine here. */
function rolloutsOf(
  { prompt_ids, completion_ids, rewards }: Generation,
  params: Case['params'],
  eos: number | null,
): { readonly all: PolicySequence[]; readonly counts: readonly boolean[]; readonly metrics: Got } {
  const rows = rewards.map((reward) => [reward].flat());
  const { advantages, metrics } = scoredGroups(params, rows);
  const all = prompt_ids.map((promptIds, b) => ({
    promptIds,
    completionIds: completion_ids[b]!,
    advantage: advantages[b]!,
    logps: completion_ids[b]!.map(() => 0),
    samplingLogps: [],
  }));
  const counts = completion_ids.map((ids) => !params['mask_truncated_completions'] || ids.at(-1) === eos);
  return { all, counts, metrics };
}

interface Accumulated {
  readonly loss: number;
  readonly tokens: number;
  readonly metrics: Got;
}

/** One optimizer step a batch; `accumulate` leaves the gradient in the model, which is freed at the end. */
function trained<T>(
  one: Case,
  policy: Decoder,
  batches: readonly T[],
  accumulate: (batch: T) => Accumulated,
): Got {
  const { params } = one;
  using model = policy;
  const parameters = trainableParameters(model);
  const got = namedWeights(parameters, 'initial');
  using optimizer = new AdamW(parameters, {
    betas: [params['adam_beta1'], params['adam_beta2']],
    epsilon: params['adam_epsilon'] ?? 1e-8,
    weightDecay: params['weight_decay'],
  });
  const schedule = {
    name: params['lr_scheduler_type'],
    lr: params['learning_rate'],
    kwargs: params['lr_scheduler_kwargs'] ?? {},
    num_training_steps: batches.length,
    num_warmup_steps: warmupStepsOf(params['warmup_steps'] ?? 0, batches.length),
  };
  let seen = 0;
  const history = batches.map((batch, i) => {
    const { loss, tokens, metrics } = accumulate(batch);
    const gradNorm = clipGradNorm(parameters.values(), params['max_grad_norm']);
    const learningRate = rateAt(schedule, i);
    optimizer.step(learningRate);
    seen += tokens;
    return {
      ...metrics,
      loss,
      grad_norm: gradNorm,
      learning_rate: learningRate,
      num_tokens: seen,
      step: i + 1,
    };
  });
  return { ...got, ...namedWeights(parameters, 'final'), history };
}

function namedWeights(parameters: ReadonlyMap<string, Tensor>, name: 'initial' | 'final'): Got {
  return scope(() =>
    Object.fromEntries([...parameters].map(([path, value]) => [`${name}.${path}`, value.toFloat32()])),
  );
}

function labelled({ promptIds, completionIds }: TrainingSequence): { input_ids: number[]; labels: number[] } {
  return {
    input_ids: [...promptIds, ...completionIds],
    labels: [...promptIds.map(() => -100), ...completionIds],
  };
}

function tokensOf(sequences: readonly TrainingSequence[]): number {
  return sequences.reduce((sum, one) => sum + one.promptIds.length + one.completionIds.length, 0);
}

function slices<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
