/** Owns the golden cases of one whole reinforcement step on a model: what is scored from rollouts, then loss and gradients. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MaybeReward } from '../../src/advantages/index.ts';
import {
  backwardThroughLogps,
  gammaWeights,
  highEntropyMask,
  importanceWeights,
  lossWeights,
  type PolicyGradientOptions,
  policyGradientLoss,
  type TokenLogps,
  tokenLogps,
} from '../../src/losses/index.ts';
import type { Decoder } from '../../src/models/index.ts';
import { noGrad, scope, type Tensor, tensor, where } from '../../src/torch/index.ts';
import { type MicroBatch, microBatchOf, predictingStates } from '../../src/train/micro-batches.ts';
import { mean } from '../../src/util/statistics.ts';
import { type Case, type Got, type Handlers, root } from './case.ts';
import { gradientsOf, trainableModel } from './model-step.ts';
import {
  accumulationOf,
  beforeDivision,
  Flat,
  metricsOf,
  optionsOf,
  phiMean,
  weightsOf,
} from './policy-handlers.ts';
import { scoredGroups, scoredLeavingOneOut } from './rl-handlers.ts';

export const stepHandlers: Handlers = {
  'grpo.step': (one) => stepOf(one, false),
  'rloo.step': (one) => stepOf(one, true),
};

export interface Rollouts {
  readonly prompts: readonly (readonly number[])[];
  readonly completions: readonly (readonly number[])[];
  /** 1 where a token counts in the loss: not a tool's, not of a completion that is left out. */
  readonly counted: readonly (readonly number[])[];
  readonly truncated: readonly boolean[];
}

function rolloutsOf({ params, inputs, uses }: Case): Rollouts {
  const config = JSON.parse(readFileSync(join(root, uses['model']!, 'config.json'), 'utf8'));
  const eos: number = params['eos_token_id'] ?? config.eos_token_id;
  const completions = inputs['completion_ids']!.value as number[][];
  const tool = inputs['env_mask']?.value as number[][] | undefined;
  const ends = [eos, params['pad_token_id']];
  const truncated = completions.map((ids) => !ends.includes(ids.at(-1)));
  const left = (b: number) => params['mask_truncated_completions'] && truncated[b];
  return {
    prompts: inputs['prompt_ids']!.value as number[][],
    completions,
    counted: completions.map((ids, b) => ids.map((_, t) => (left(b) ? 0 : (tool?.[b]?.[t] ?? 1)))),
    truncated,
  };
}

function stepOf(one: Case, rloo: boolean): Got {
  const { params } = one;
  const rollouts = rolloutsOf(one);
  const { completions, counted } = rollouts;
  const width = Math.max(...completions.map((ids) => ids.length));
  const scored = scoredOf(one, rollouts, rloo);
  using model = mixedModel(one);
  const lengths = counted.map((row) => row.reduce((sum, value) => sum + value, 0));
  const items = counted.flat().reduce((sum, value) => sum + value, 0);
  const options: PolicyGradientOptions = rloo
    ? {
        ratioLevel: 'sequence-product',
        clip: { low: params['epsilon_low'], high: params['epsilon_high'] },
        kl: { beta: 0, estimator: 'k1' },
      }
    : optionsOf(params, {});
  const weights = rloo
    ? lossWeights(lengths, 'sequences', 1)
    : weightsOf({ ...params, num_items_in_batch: items }, lengths);
  const lines = scope(() => {
    const flat = new Flat(rectangle(counted, width), 'f32');
    const lost = lossOf(one, model, rollouts, scored, flat, options, weights);
    return { ...lost, ...gradientsOf(model) };
  });
  const gradients = Object.entries(lines).filter(([name]) => name.startsWith('grad.'));
  const squares = gradients.map(([, g]) => (g as Float32Array).reduce((sum, v) => sum + v * v, 0));
  return {
    ...lines,
    ...outputsOf(one, rollouts, scored, width),
    num_items_in_batch: items,
    grad_norm: Math.sqrt(squares.reduce((sum, value) => sum + value, 0)),
    score_metrics: { ...scored.metrics, ...lengthMetrics(one, rollouts) },
  };
}

interface ScoredStep {
  readonly advantages: readonly number[];
  readonly metrics: Got;
  /** By sequence and token, of every completion token. */
  readonly old: number[][];
  readonly reference: number[][] | null;
  readonly sampling: number[][] | null;
  readonly importance: number[][] | null;
}

function scoredOf(one: Case, rollouts: Rollouts, rloo: boolean): ScoredStep {
  const { params } = one;
  using model = trainableModel(one);
  const old = logpsOf(model, rollouts, params['temperature']).logps;
  const reference = params['beta'] === 0 ? null : referenceOf(one, rollouts);
  const rows = one.inputs['rewards']!.value as MaybeReward[][];
  const kl = old.map((row, b) => row.reduce((sum, v, t) => sum + v - (reference?.[b]?.[t] ?? v), 0));
  const found = rloo ? scoredLeavingOneOut(params, rows, kl) : scoredGroups(params, rows);
  const given = one.inputs['sampling_logps']?.value as (number | null)[][] | undefined;
  // A token whose sampling log-probability is not known has ratio 1.
  const sampling = given?.map((row, b) => row.map((value, t) => value ?? old[b]![t]!)) ?? null;
  const importance = sampling && importanceOf(params, old, sampling, rollouts);
  const tokens = rollouts.completions.flat().length;
  return {
    advantages: found.advantages,
    metrics: {
      ...found.metrics,
      ...(rloo && reference ? { kl: kl.reduce((sum, value) => sum + value, 0) / tokens } : {}),
      ...(given && importance ? samplingMetrics(params, old, given, importance, rollouts) : {}),
    },
    old,
    reference,
    sampling,
    importance,
  };
}

function referenceOf(one: Case, rollouts: Rollouts): number[][] {
  using model = trainableModel(one, 'ref_model');
  return logpsOf(model, rollouts, one.params['temperature']).logps;
}

/** Log-probabilities and entropies of every completion token by sequence, no gradient. */
export function logpsOf(
  model: Decoder,
  { prompts, completions }: Pick<Rollouts, 'prompts' | 'completions'>,
  temperature: number,
): { logps: number[][]; entropies: number[][] } {
  return noGrad(() =>
    scope(() => {
      const [batch, order] = wholeBatch(prompts, completions);
      const { hidden_ND, targets_N } = predictingStates(model, batch);
      const values = tokenLogps(hidden_ND, model.headWeight, targets_N, { temperature });
      const cut = (all: Float32Array) => {
        const rows: number[][] = completions.map(() => []);
        let start = 0;
        for (const b of order) {
          rows[b] = [...all.slice(start, start + completions[b]!.length)];
          start += completions[b]!.length;
        }
        return rows;
      };
      return { logps: cut(values.logps_N.toFloat32()), entropies: cut(values.entropies_N.toFloat32()) };
    }),
  );
}

function wholeBatch(
  prompts: Rollouts['prompts'],
  completions: Rollouts['completions'],
): readonly [MicroBatch, readonly number[]] {
  const sequences = prompts.map((promptIds, b) => ({ promptIds, completionIds: completions[b]! }));
  const order = sequences.map((_, b) => b);
  return [
    microBatchOf(
      sequences,
      order.map((i) => [i]),
      0,
    ),
    order,
  ] as const;
}

/** (1 - mix) A + mix B: the policy after updates that the case does not show. */
function mixedModel(one: Case): Decoder {
  const model = trainableModel(one);
  const mix: number = one.params['mix'];
  if (mix === 0) return model;
  using other = trainableModel(one, 'mix_model');
  noGrad(() =>
    scope(() => {
      const theirs = other.stateDict();
      for (const [name, value] of model.namedParameters())
        value.copy_(value.mul(1 - mix).add(theirs.get(name)!, mix));
    }),
  );
  return model;
}

function lossOf(
  one: Case,
  model: Decoder,
  rollouts: Rollouts,
  scored: ScoredStep,
  flat: Flat,
  options: PolicyGradientOptions,
  weights: readonly number[],
): Got {
  const { params } = one;
  const { counted } = rollouts;
  const width = flat.width;
  const tokens = (rows: readonly (readonly number[])[]) => flat.of(rectangle(rows, width))!;
  const share: number = params['top_entropy_quantile'] ?? 1;
  const entropies = logpsOf(model, rollouts, params['temperature']).entropies;
  const kept = tokens(entropies).toFloat64();
  const high = share < 1 ? [...highEntropyMask(kept, share)] : null;
  const bonus: number = params['entropy_coef'] ?? 0;
  const total = high ? high.reduce((sum, value) => sum + value, 0) : kept.length;
  const importance_N = scored.importance && tokens(scored.importance);
  const [batch, order] = wholeBatch(rollouts.prompts, rollouts.completions);
  const { hidden_ND, targets_N } = predictingStates(model, batch);
  const gathered = gatherer(order, rollouts, flat);
  let got: Got = {};
  backwardThroughLogps(
    hidden_ND,
    model.headWeight,
    targets_N,
    { temperature: params['temperature'] },
    (values: TokenLogps) => {
      const logps_N = gathered(values.logps_N);
      const entropies_N = gathered(values.entropies_N);
      const oldLogps_N = keepsOld(params, scored) ? tokens(scored.old) : logps_N.detach();
      const given = {
        logps_N,
        oldLogps_N,
        referenceLogps_N: options.kl.beta !== 0 && scored.reference ? tokens(scored.reference) : null,
        advantages_N: flat.spread(scored.advantages),
        weights_N: flat.spread(weights),
        rows: flat.rows,
        entropies_N,
        entropyWeights_N: flat.numbers(
          (high ?? counted.flat().filter(Boolean)).map((one) => one / (total * accumulationOf(params))),
        ),
        ...(high ? { policyWeights_N: flat.numbers(high) } : {}),
        ...(importance_N
          ? {
              importance: {
                weights_N: importance_N,
                level: perSequence(params) ? ('sequence' as const) : ('token' as const),
              },
            }
          : {}),
        ...(scored.sampling ? { samplingLogps_N: samplingOf(one, tokens, logps_N) } : {}),
      };
      const result = policyGradientLoss(given, options);
      const lossValue = result.loss.detach().item();
      const rewarded = given.entropies_N.detach().mul(given.entropyWeights_N).sum().item();
      got = {
        loss: lossValue,
        loss_metrics: {
          ...metricsOf(flat, result, options),
          entropy: flat.meanOf(entropies_N.detach().toFloat64()),
          ...(bonus === 0
            ? {}
            : {
                entropy_coef: bonus,
                policy_loss: (lossValue + bonus * rewarded) * beforeDivision(params),
              }),
          ...(options.objective?.name === 'vespo'
            ? { 'vespo/phi_seq_mean': phiMean(flat, gammaWeights(given, options.objective), false) }
            : {}),
        },
      };
      return result.loss;
    },
  );
  return got;
}

/** TRL keeps the log-probabilities of a generation that more than one optimizer step learns from; RLOO's always. */
function keepsOld(params: Case['params'], { sampling }: ScoredStep): boolean {
  if (params['num_iterations'] === undefined || sampling) return true;
  const generateEvery = (params['steps_per_generation'] ?? 1) * params['num_iterations'];
  return (params['current_gradient_accumulation_steps'] ?? 1) % generateEvery !== 0;
}

/** From the micro-batch's order of tokens to the rectangle's, without the tokens that do not count. */
function gatherer(
  order: readonly number[],
  { completions }: Rollouts,
  flat: Flat,
): (values: Tensor) => Tensor {
  const starts = new Map<number, number>();
  let start = 0;
  for (const b of order) {
    starts.set(b, start);
    start += completions[b]!.length;
  }
  const places = flat.flatPlaces.map((place, i) => starts.get(flat.rowOf[i]!)! + (place % flat.width));
  const index = tensor(places, { dtype: 'i64' });
  return (values) => values.indexSelect(0, index);
}

function importanceOf(
  params: Case['params'],
  old: readonly number[][],
  sampling: readonly number[][],
  { completions, counted }: Rollouts,
): number[][] {
  const [level, beyond] = (params['vllm_importance_sampling_mode'] as string).split('_') as [
    'token' | 'sequence',
    'mask' | 'truncate',
  ];
  const width = Math.max(...completions.map((ids) => ids.length));
  return scope(() => {
    const flat = new Flat(
      rectangle(
        completions.map((ids) => ids.map(() => 1)),
        width,
      ),
      'f32',
    );
    // A token that does not count has ratio 1, and no part in its sequence's.
    const sampled = sampling.map((row, b) =>
      row.map((value, t) => (counted[b]![t] === 1 ? value : old[b]![t]!)),
    );
    const weights = importanceWeights(
      flat.of(rectangle(old, width))!,
      flat.of(rectangle(sampled, width))!,
      {
        level,
        beyond,
        max: params['vllm_importance_sampling_clip_max'] ?? Number.POSITIVE_INFINITY,
        min: params['vllm_importance_sampling_clip_min'] ?? null,
      },
      flat.rows,
    ).toFloat64();
    return completions.map((_, b) => [...weights].filter((_weight, i) => flat.rowOf[i] === b));
  });
}

function samplingMetrics(
  params: Case['params'],
  old: readonly number[][],
  sampling: readonly (readonly (number | null)[])[],
  importance: readonly number[][],
  { counted }: Rollouts,
): Got {
  const differences = old.flatMap((row, b) =>
    row.flatMap((value, t) => {
      const sampled = sampling[b]![t] ?? null;
      return sampled === null || counted[b]![t] === 0 ? [] : [Math.abs(value - sampled)];
    }),
  );
  const counts = (values: readonly (readonly number[])[]) =>
    values.flatMap((row, b) => row.filter((_, t) => counted[b]![t] === 1));
  const ratios = perSequence(params) ? importance.map((row) => row[0]!) : counts(importance);
  const orZero = (of: (values: readonly number[]) => number, values: readonly number[]) =>
    values.length > 0 ? of(values) : 0;
  const [least, most] = [(v: readonly number[]) => Math.min(...v), (v: readonly number[]) => Math.max(...v)];
  return {
    'sampling/sampling_logp_difference/mean': orZero(mean, differences),
    'sampling/sampling_logp_difference/max': orZero(most, differences),
    'sampling/importance_sampling_ratio/min': orZero(least, ratios),
    'sampling/importance_sampling_ratio/mean': orZero(mean, ratios),
    'sampling/importance_sampling_ratio/max': orZero(most, ratios),
  };
}

/** What TRL hands from scoring to the loss. */
function outputsOf(one: Case, rollouts: Rollouts, scored: ScoredStep, width: number): Got {
  const { prompts, completions, truncated } = rollouts;
  const pad: number = one.params['pad_token_id'];
  const longest = Math.max(...prompts.map((ids) => ids.length));
  const right = (rows: readonly (readonly number[])[], value: number) =>
    rows.map((row) => [...row, ...new Array<number>(width - row.length).fill(value)]);
  const left = (rows: readonly (readonly number[])[], value: number) =>
    rows.map((row) => [...new Array<number>(longest - row.length).fill(value), ...row]);
  const tool = one.inputs['env_mask']?.value as number[][] | undefined;
  const given = (one.inputs['sampling_logps']?.value as (number | null)[][] | undefined)?.map((row) =>
    row.map((value) => value ?? Number.NaN),
  );
  const dropped = (b: number) => one.params['mask_truncated_completions'] && truncated[b];
  return {
    advantages: scored.advantages,
    old_logps: scored.old.map((row) => row.reduce((sum, value) => sum + value, 0)),
    'out.advantages': scored.advantages,
    'out.prompt_ids': left(prompts, pad),
    'out.prompt_mask': left(
      prompts.map((ids) => ids.map(() => 1)),
      0,
    ),
    'out.completion_ids': right(completions, pad),
    'out.completion_mask': right(
      completions.map((ids, b) => ids.map(() => (dropped(b) ? 0 : 1))),
      0,
    ),
    'out.old_per_token_logps': right(scored.old, 0),
    ...(scored.reference ? { 'out.ref_per_token_logps': right(scored.reference, 0) } : {}),
    ...(given ? { 'out.sampling_per_token_logps': right(given, 0) } : {}),
    ...(scored.importance
      ? {
          'out.importance_sampling_ratio': perSequence(one.params)
            ? scored.importance.map((row) => row[0]!)
            : right(scored.importance, 1),
        }
      : {}),
    ...(tool
      ? {
          'out.tool_mask': right(tool, 1).map((row, b) => (dropped(b) ? row.map(() => 0) : row)),
        }
      : {}),
  };
}

function perSequence(params: Case['params']): boolean {
  return String(params['vllm_importance_sampling_mode']).startsWith('sequence');
}

/** What was sampled with; a token whose log-probability is not known says nothing of how far the policy has moved. */
function samplingOf(
  one: Case,
  tokens: (rows: readonly (readonly number[])[]) => Tensor,
  logps_N: Tensor,
): Tensor {
  const given = one.inputs['sampling_logps']!.value as (number | null)[][];
  const known = given.map((row) => row.map((value) => (value === null ? 0 : 1)));
  const values = given.map((row) => row.map((value) => value ?? 0));
  return where(tokens(known).gt(0), tokens(values), logps_N.detach());
}

/** Lengths without a tool's tokens. */
function lengthMetrics(one: Case, { completions, truncated }: Rollouts): Got {
  const tool = one.inputs['env_mask']?.value as number[][] | undefined;
  const lengths = completions.map((ids, b) => tool?.[b]?.reduce((sum, v) => sum + v, 0) ?? ids.length);
  const ended = lengths.filter((_, b) => !truncated[b]);
  return {
    'completions/mean_length': mean(lengths),
    'completions/min_length': Math.min(...lengths),
    'completions/max_length': Math.max(...lengths),
    'completions/clipped_ratio': 1 - ended.length / lengths.length,
    'completions/mean_terminated_length': ended.length > 0 ? mean(ended) : 0,
    'completions/min_terminated_length': ended.length > 0 ? Math.min(...ended) : 0,
    'completions/max_terminated_length': ended.length > 0 ? Math.max(...ended) : 0,
  };
}

export function rectangle(rows: readonly (readonly number[])[], width: number): Tensor {
  const flat = rows.flatMap((row) => [...row, ...new Array<number>(width - row.length).fill(0)]);
  return tensor(flat, { dtype: 'f64', shape: [rows.length, width] });
}
