/** Owns the golden cases of whole training runs: the trainers' parts in the reference's order of examples. */

import { join } from 'node:path';
import { groupAdvantages } from '../../src/advantages/index.ts';
import type { PairText } from '../../src/data/training-rows.ts';
import { lossWeights } from '../../src/losses/index.ts';
import { type Decoder, openPolicy } from '../../src/models/index.ts';
import { trainableParameters } from '../../src/nn/index.ts';
import { AdamW, clipGradNorm, learningRateAt } from '../../src/optim/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { noGrad, scope, type Tensor } from '../../src/torch/index.ts';
import { accumulateCrossEntropy } from '../../src/train/cross-entropy.ts';
import { cutMicroBatches, type MicroBatch, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { encodePair, pairSequences } from '../../src/train/pairs.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  recordedLogps,
} from '../../src/train/policy-update.ts';
import { SupervisedRows, sequenceOf } from '../../src/train/supervised-rows.ts';
import { mean } from '../../src/util/statistics.ts';
import { type Case, chunked, type Got, type Handlers, root, type Tensors } from './case.ts';
import { trainableModel } from './model-step.ts';
import { pairStep } from './pair-step.ts';
import { rewardMetrics } from './rl-handlers.ts';
import { metricsOf } from './sft-handlers.ts';

export const trainHandlers: Handlers = {
  'train.sft': (one) => supervised(one, trainableModel(one)),
  'train.sft_lora': (one, inputs) => supervised(one, adaptedModel(one, inputs)),
  'train.dpo': (one) => {
    const tokenizer = loadTokenizer(join(root, one.uses['model']!));
    const pairs = (one.inputs['examples']!.value as PairText[]).map((pair) => encodePair(tokenizer, pair));
    using start = trainableModel(one, 'ref_model');
    using reference = start.snapshot();
    const model = trainableModel(one);
    return trained(one, model, slices(pairs, one.params['per_device_train_batch_size']), (part) => ({
      ...pairStep(one, model, reference, part),
      tokens: tokensOf(pairSequences(part)),
    }));
  },
  'train.grpo': (one) => {
    const { params } = one;
    const reuse: number = params['num_iterations'];
    const generations = (one.inputs['rollouts']!.value as Generation[]).flatMap((generation) =>
      Array.from({ length: reuse }, (_, use) => ({ generation, use })),
    );
    using start = trainableModel(one, 'ref_model');
    using reference = params['beta'] === 0 ? null : start.snapshot();
    let old: Float32Array[] = [];
    const model = trainableModel(one);
    return trained(one, model, generations.slice(0, params['max_steps']), ({ generation, use }) => {
      const sequences = rolloutsOf(generation, params);
      const batches = cutMicroBatches(sequences, 64, model.config.padTokenId ?? 0);
      const now = recordedLogps(model, batches, 1);
      if (use === 0) old = now;
      const sums = accumulatePolicyGradient({
        policy: model,
        reference,
        sequences,
        batches,
        weights: lossWeights(
          generation.completion_ids.map((ids) => ids.length),
          params['loss_type'] === 'dapo' ? 'tokens' : 'sequences',
          params['max_completion_length'],
        ),
        oldLogps: reuse > 1 ? old : null,
        temperature: 1,
        truncated: false,
        loss: {
          clip: { low: params['epsilon'] ?? 0.2, high: params['epsilon_high'] ?? params['epsilon'] ?? 0.2 },
          // TRL 1.13 multiplies the estimate with the ratio unless told otherwise.
          kl: { beta: params['beta'], estimator: 'k3', corrected: params['use_bias_correction_kl'] ?? true },
        },
      });
      const scores = rewardMetrics(
        generation.rewards.map((reward) => [reward]),
        generation.rewards,
      );
      return {
        loss: sums.loss,
        tokens: use === 0 ? tokensOf(sequences) : 0,
        metrics: {
          ...scores,
          'rewards/reward/mean': scores['reward'],
          'rewards/reward/std': scores['reward_std'],
          ...(sums.kl === null ? {} : { kl: sums.kl / sums.targets }),
          entropy: sums.entropy / sums.targets,
          ...clipMetrics(params, sequences, batches, now, old),
        },
      };
    });
  },
};

/** Supervised fine-tuning of whatever the model trains; takes the model over. */
function supervised(one: Case, model: Decoder): Got {
  const { params } = one;
  const tokenizer = loadTokenizer(join(root, one.uses['model']!));
  const rows = new SupervisedRows(tokenizer, {
    completionOnly: true,
    assistantOnly: false,
    maxLength: params['max_length'],
  });
  const examples = (one.inputs['examples']!.value as { prompt: string; completion: string }[]).map(
    (example) => sequenceOf(rows.row(example)!),
  );
  const size: number = params['per_device_train_batch_size'];
  const windows = slices(examples, size * params['gradient_accumulation_steps']);
  return trained(one, model, windows, (window) => {
    const parts = slices(window, size).map((part) => metricsOf(model, part.map(labelled)));
    const batches = cutMicroBatches(window, 64, model.config.padTokenId ?? 0);
    // The reference averages its measurements over the micro-batches of a window.
    const average = (name: string) => mean(parts.map((part) => part[name] as number));
    return {
      loss: accumulateCrossEntropy(model, batches).loss,
      tokens: tokensOf(window),
      metrics: { entropy: average('entropy'), mean_token_accuracy: average('mean_token_accuracy') },
    };
  });
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
  readonly rewards: readonly number[];
}

/** The sequences of a generation with their advantages; no log-probability comes from an engine here. */
function rolloutsOf(
  { prompt_ids, completion_ids, rewards }: Generation,
  params: Case['params'],
): PolicySequence[] {
  const { advantages } = groupAdvantages(chunked(rewards, params['num_generations']), {
    scale: params['scale_rewards'] ?? 'group',
  });
  return prompt_ids.map((promptIds, b) => ({
    promptIds,
    completionIds: completion_ids[b]!,
    advantage: advantages.flat()[b]!,
    logps: completion_ids[b]!.map(() => 0),
    samplingLogps: [],
  }));
}

/** Shares of clipped tokens: of all tokens, and the least and largest share of a sequence. */
function clipMetrics(
  params: Case['params'],
  sequences: readonly PolicySequence[],
  batches: readonly MicroBatch[],
  now: readonly Float32Array[],
  old: readonly Float32Array[],
): Got {
  const [low, high] = [
    1 - (params['epsilon'] ?? 0.2),
    1 + (params['epsilon_high'] ?? params['epsilon'] ?? 0.2),
  ];
  const rows = batches.flatMap((batch, i) => {
    let t = 0;
    return batch.order.map((b) => {
      const { completionIds, advantage } = sequences[b]!;
      const ratios = completionIds.map(() => Math.exp(now[i]![t]! - old[i]![t++]!));
      return {
        tokens: ratios.length,
        low: advantage < 0 ? ratios.filter((ratio) => ratio < low).length : 0,
        high: advantage > 0 ? ratios.filter((ratio) => ratio > high).length : 0,
      };
    });
  });
  const total = rows.reduce((sum, row) => sum + row.tokens, 0);
  const share = (side: 'low' | 'high') => rows.reduce((sum, row) => sum + row[side], 0) / total;
  return {
    'clip_ratio/low_mean': share('low'),
    'clip_ratio/high_mean': share('high'),
    'clip_ratio/region_mean': share('low') + share('high'),
    'clip_ratio/low_min': Math.min(...rows.map((row) => row.low / row.tokens)),
    'clip_ratio/high_max': Math.max(...rows.map((row) => row.high / row.tokens)),
  };
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
  const got = weightsOf(parameters, 'initial');
  using optimizer = new AdamW(parameters, {
    betas: [params['adam_beta1'], params['adam_beta2']],
    epsilon: params['adam_epsilon'] ?? 1e-8,
    weightDecay: params['weight_decay'],
  });
  const schedule = {
    steps: batches.length,
    learningRate: params['learning_rate'],
    warmupSteps: params['warmup_steps'],
    schedule: params['lr_scheduler_type'],
    minLearningRateRatio: 0,
  };
  let seen = 0;
  const history = batches.map((batch, i) => {
    const { loss, tokens, metrics } = accumulate(batch);
    const gradNorm = clipGradNorm(parameters.values(), params['max_grad_norm']);
    // Their first step is our step 0: a warm-up begins with a rate of 0, and without one the rate is the peak.
    const learningRate =
      i === 0 && schedule.warmupSteps === 0 ? schedule.learningRate : learningRateAt(i, schedule);
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
  return { ...got, ...weightsOf(parameters, 'final'), history };
}

function weightsOf(parameters: ReadonlyMap<string, Tensor>, name: 'initial' | 'final'): Got {
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
