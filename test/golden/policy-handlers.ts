/** Owns the golden cases of the policy-gradient loss: rectangles of log-probabilities, cut to flat tokens as trainers do. */

import {
  adaptEntropyCoefficient,
  gammaWeights,
  highEntropyMask,
  type LossDenominator,
  lossWeights,
  type PolicyGradientInputs,
  type PolicyGradientLoss,
  type PolicyGradientOptions,
  type PolicyObjective,
  policyGradientLoss,
  type RatioLevel,
  type Rows,
} from '../../src/losses/index.ts';
import { backward, type DType, ids, scope, type Tensor, tensor, where } from '../../src/torch/index.ts';
import type { Case, Got, Handlers, Tensors } from './case.ts';

export const policyHandlers: Handlers = {
  'grpo.loss': (one, inputs) => both((dtype) => lossOf(one, inputs, dtype, {})),
  'grpo.variant': (one, inputs) =>
    both((dtype) =>
      lossOf(
        one,
        inputs,
        dtype,
        one.params['variant'] === 'gmpo'
          ? { objective: { name: 'gmpo' }, denominator: 'sequences' }
          : { ratioLevel: 'sequence-token' },
      ),
    ),
  'grpo.adaptive_entropy': adaptiveEntropy,
};

/** Micro-batches in windows of one optimizer step each; the weight of the bonus changes at the end of a window. */
function adaptiveEntropy(one: Case, inputs: Tensors): Got {
  const { params } = one;
  const steps = one.expected['micro_batches']!.value as { num_items_in_batch: number; sync: boolean }[];
  const options = {
    target: params['entropy_target'],
    delta: params['entropy_coef_delta'],
    min: params['entropy_coef_min'] ?? 0,
    max: params['entropy_coef_max'],
  };
  let state = { coefficient: params['entropy_coef'] as number, counts: false };
  let last = Number.POSITIVE_INFINITY;
  let window: { entropy: number; tokens: number }[] = [];
  const rows = steps.map(({ num_items_in_batch, sync }, i) => {
    const own = new Map(
      [...inputs].flatMap(([name, value]) =>
        name.startsWith(`${i}.`) ? [[name.slice(name.indexOf('.') + 1), value] as const] : [],
      ),
    );
    const coefficient = state.counts ? state.coefficient : 0;
    const accumulation: number = params['gradient_accumulation_steps'];
    const given = {
      ...params,
      num_items_in_batch,
      entropy_coef: coefficient,
      current_gradient_accumulation_steps: accumulation,
      steps_per_generation: accumulation,
    };
    const got = lossOf({ ...one, params: given }, own, 'f32', {});
    const metrics = got['metrics'] as Record<string, number>;
    window.push(countedEntropy(given, own));
    if (sync) {
      const total = window.reduce((sum, part) => sum + part.tokens, 0);
      last = window.reduce((sum, part) => sum + part.entropy, 0) / Math.max(1, total);
      state = adaptEntropyCoefficient(state.coefficient, last, options);
      window = [];
    }
    const extra = coefficient === 0 ? { policy_loss: (got['loss'] as number) * beforeDivision(given) } : {};
    return {
      loss: got['loss'],
      num_items_in_batch,
      sync,
      entropy_coef_after: state.coefficient,
      last_world_entropy_after: last,
      metrics: { ...metrics, ...extra, entropy_coef: state.coefficient },
    };
  });
  return { micro_batches: rows };
}

/** The summed entropy of the tokens that a bonus rewards, and how many they are. */
function countedEntropy(params: Case['params'], inputs: Tensors): { entropy: number; tokens: number } {
  return scope(() => {
    const flat = new Flat(inputs.get('completion_mask')!, 'f32');
    const entropies = flat.of(inputs.get('entropies'))!.toFloat64();
    const share = highEntropyShare(params);
    const high = share < 1 ? highEntropyMask(entropies, share) : entropies.map(() => 1);
    return {
      entropy: entropies.reduce((sum, value, i) => sum + value * high[i]!, 0),
      tokens: Array.from(high).reduce((sum, value) => sum + value, 0),
    };
  });
}

/** The f32 and the float64 twin under their names. */
function both(run: (dtype: DType) => Got): Got {
  const double = Object.entries(run('f64')).map(([name, value]) => [`${name}_f64`, value] as const);
  return { ...run('f32'), ...Object.fromEntries(double) };
}

/** The tokens of a rectangle that count, row by row. */
export class Flat {
  readonly height: number;
  readonly width: number;
  readonly rows: Rows;
  readonly lengths: number[];
  readonly rowOf: number[];
  private readonly places: Tensor;
  readonly flatPlaces: number[];
  private readonly dtype: DType;

  constructor(mask: Tensor, dtype: DType) {
    [this.height, this.width] = mask.shape as [number, number];
    this.dtype = dtype;
    this.flatPlaces = [...mask.toFloat64()].flatMap((value, i) => (value === 0 ? [] : [i]));
    this.rowOf = this.flatPlaces.map((place) => Math.floor(place / this.width));
    this.lengths = Array.from(
      { length: this.height },
      (_, row) => this.rowOf.filter((r) => r === row).length,
    );
    this.places = ids(this.flatPlaces);
    this.rows = { rows_N: ids(this.rowOf), count: this.height };
  }

  /** The tokens of [B, T], or of [B] or [B, 1] spread over their rows. */
  of(values: Tensor | undefined): Tensor | undefined {
    if (!values) return undefined;
    const square = values.shape.length === 1 ? values.unsqueeze(1) : values;
    return square.to(this.dtype).expand([this.height, this.width]).reshape([-1]).indexSelect(0, this.places);
  }

  numbers(values: readonly number[]): Tensor {
    return tensor([...values], { dtype: 'f64' }).to(this.dtype);
  }

  /** One number a row, as one a token. */
  spread(values: readonly number[]): Tensor {
    return this.numbers(this.rowOf.map((row) => values[row]!));
  }

  /** Back to a rectangle, 0 where nothing counts. */
  unflatten(values: ArrayLike<number>): Float64Array {
    const all = new Float64Array(this.height * this.width);
    this.flatPlaces.forEach((place, i) => {
      all[place] = values[i]!;
    });
    return all;
  }

  /** The mean over all that counts; 0 where nothing does. */
  meanOf(values: ArrayLike<number>): number {
    return Array.from(values).reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  }

  /** Mean of each row, NaN for an empty one. */
  rowMeansOf(values: ArrayLike<number>): number[] {
    const sums = new Array<number>(this.height).fill(0);
    this.rowOf.forEach((row, i) => {
      sums[row]! += values[i]!;
    });
    return sums.map((sum, row) => sum / this.lengths[row]!);
  }
}

interface Special {
  readonly objective?: PolicyObjective;
  readonly ratioLevel?: RatioLevel;
  readonly denominator?: LossDenominator;
}

/** Loss, gradients and metrics of one micro-batch of rectangles, by TRL's names. */
export function lossOf(one: Pick<Case, 'params'>, inputs: Tensors, dtype: DType, special: Special): Got {
  const { params } = one;
  return scope(() => {
    const toolMask = inputs.get('tool_mask');
    const mask = inputs.get('completion_mask')!.to('f64');
    const flat = new Flat(toolMask ? mask.mul(toolMask.to('f64')) : mask, dtype);
    const logps_N = flat.of(inputs.get('per_token_logps'))!.clone().detach().requiresGrad_();
    const entropies_N = flat.of(inputs.get('entropies'))!.clone().detach();
    const masked = highEntropyShare(params) < 1;
    const high = masked ? highEntropyMask(entropies_N.toFloat64(), highEntropyShare(params)) : null;
    const bonus = (params['entropy_coef'] ?? 0) as number;
    if (bonus !== 0) entropies_N.requiresGrad_();
    const counted = high ? high.reduce((sum, value) => sum + value, 0) : flat.flatPlaces.length;
    const accumulation = accumulationOf(params);
    const ratio = inputs.get('importance_sampling_ratio');
    const oldLogps_N = flat.of(inputs.get('old_per_token_logps')) ?? logps_N.detach();
    const samplingLogps_N = knownOr(flat.of(inputs.get('sampling_per_token_logps')), logps_N.detach());
    const mask_N = high ? flat.numbers([...high]) : undefined;
    const given = {
      logps_N,
      oldLogps_N,
      referenceLogps_N: params['beta'] === 0 ? null : flat.of(inputs.get('ref_per_token_logps'))!,
      advantages_N: flat.of(inputs.get('advantages'))!,
      weights_N: flat.spread(weightsOf(params, flat.lengths, special.denominator)),
      rows: flat.rows,
      entropies_N,
      entropyWeights_N: (mask_N ?? flat.numbers(flat.rowOf.map(() => 1))).mul(
        1 / (Math.max(1, counted) * accumulation),
      ),
      ...(mask_N ? { policyWeights_N: mask_N } : {}),
      ...(ratio ? { importance: importanceOf(flat, ratio, params['loss_type']) } : {}),
      ...(samplingLogps_N ? { samplingLogps_N } : {}),
    };
    const options = optionsOf(params, special);
    const result = policyGradientLoss(given, options);
    backward(result.loss);
    const perToken = inputs.get('advantages')!.shape.length > 1;
    const empty = options.objective?.name === 'gmpo' ? emptyMeans(flat, inputs) / accumulation : 0;
    const got: Got = {
      loss: result.loss.item() + empty,
      grad_per_token_logps: flat.unflatten(logps_N.grad!.toFloat64()),
      metrics: {
        ...metricsOf(flat, result, options, perToken),
        entropy: flat.meanOf(entropies_N.detach().toFloat64()),
        ...(options.objective?.name === 'vespo'
          ? {
              'vespo/phi_seq_mean': phiMean(
                flat,
                gammaWeights(given, options.objective),
                perToken,
                ratio && !perToken ? phiWithoutTokens(inputs, ratio, options.objective) : undefined,
              ),
            }
          : {}),
        ...(bonus === 0
          ? {}
          : {
              entropy_coef: bonus,
              policy_loss: (result.loss.item() + bonus * bonusOf(given)) * beforeDivision(params),
            }),
      },
    };
    if (bonus !== 0) got['grad_entropies'] = flat.unflatten(entropies_N.grad!.toFloat64());
    return got;
  });
}

/** TRL logs the policy's part before it divides by the number of micro-batches. */
export function beforeDivision(params: Case['params']): number {
  return params['loss_type'] in denominators ? accumulationOf(params) : 1;
}

/** VESPO reads the weights of padding too (1 unless a case says else): each token of a row takes its share of them. */
function importanceOf(
  flat: Flat,
  ratio: Tensor,
  kind: string,
): NonNullable<PolicyGradientInputs['importance']> {
  const weights_N = flat.of(ratio)!;
  if (ratio.size(1) === 1) return { weights_N, level: 'sequence' };
  if (kind !== 'vespo') return { weights_N, level: 'token' };
  const log = ratio.to('f64').log().clamp(Math.log(1e-8), 20);
  const own = flat.rowMeansOf(flat.of(log)!.toFloat64());
  const sums = log.sum(1).toFloat64();
  const shares = flat.lengths.map((length, row) => (length > 0 ? sums[row]! / length - own[row]! : 0));
  return { weights_N: weights_N.mul(flat.spread(shares).exp()), level: 'token' };
}

/** The mean entropy that the bonus rewards. */
function bonusOf(given: { readonly entropies_N: Tensor; readonly entropyWeights_N: Tensor }): number {
  return given.entropies_N.detach().mul(given.entropyWeights_N).sum().item();
}

function highEntropyShare(params: Case['params']): number {
  return params['top_entropy_quantile'] ?? 1;
}

/** Over tokens where each has its advantage, else over rows; a row without tokens is on-policy and counts 1 by default. */
export function phiMean(
  flat: Flat,
  phi_N: Tensor,
  perToken: boolean,
  withoutTokens?: ArrayLike<number>,
): number {
  const values = phi_N.toFloat64();
  if (perToken) return flat.meanOf(values);
  const rows = flat.rowMeansOf(values);
  return flat.meanOf(
    rows.map((value, row) => (flat.lengths[row]! > 0 ? value : (withoutTokens?.[row] ?? 1))),
  );
}

/** VESPO's weight of rows of which only the importance weights are known: of each row as if it had no token. */
function phiWithoutTokens(
  inputs: Tensors,
  ratio: Tensor,
  objective: Extract<PolicyObjective, { name: 'vespo' }>,
): Float64Array {
  const log_R = ratio.to('f64').log().clamp(Math.log(1e-8), 20).sum(1);
  const none_R = log_R.mul(0);
  const rows = { rows_N: ids(Array.from({ length: ratio.size(0) }, (_, row) => row)), count: ratio.size(0) };
  const given = {
    logps_N: none_R,
    oldLogps_N: none_R,
    referenceLogps_N: null,
    advantages_N: inputs.get('advantages')!.to('f64'),
    weights_N: none_R,
    importance: { weights_N: log_R.exp(), level: 'sequence' as const },
    rows,
  };
  return gammaWeights(given, objective).toFloat64();
}

/** What GMPO's mean over sequences has of rows without tokens: the geometric mean of nothing is 1, and so no gradient. */
function emptyMeans(flat: Flat, inputs: Tensors): number {
  const empty = [...inputs.get('advantages')!.toFloat64()].filter((_, row) => flat.lengths[row] === 0);
  return -empty.reduce((sum, advantage) => sum + advantage, 0) / flat.height;
}

/** What was sampled with, where it is known: a NaN says nothing of how far the policy has moved. */
function knownOr(samplingLogps_N: Tensor | undefined, logps_N: Tensor): Tensor | undefined {
  return samplingLogps_N && where(samplingLogps_N.eq(samplingLogps_N), samplingLogps_N, logps_N);
}

export function accumulationOf(params: Case['params']): number {
  return params['mode'] === 'eval' ? 1 : (params['current_gradient_accumulation_steps'] ?? 1);
}

/** TRL's names in ours. */
export function optionsOf(params: Case['params'], special: Special): PolicyGradientOptions {
  const kind: string = params['loss_type'];
  const objectives: Readonly<Record<string, PolicyObjective>> = {
    cispo: { name: 'cispo' },
    sapo: {
      name: 'sapo',
      positive: params['sapo_temperature_pos'] ?? 1,
      negative: params['sapo_temperature_neg'] ?? 1.05,
    },
    vespo: {
      name: 'vespo',
      positive: { k: params['vespo_k_pos'] ?? 2, lambda: params['vespo_lambda_pos'] ?? 3 },
      negative: { k: params['vespo_k_neg'] ?? 3, lambda: params['vespo_lambda_neg'] ?? 2 },
    },
  };
  return {
    objective: special.objective ?? objectives[kind] ?? { name: 'clip' },
    ratioLevel: special.ratioLevel ?? params['importance_sampling_level'] ?? 'token',
    clip: {
      low: params['epsilon_low'] ?? 0.2,
      high: params['epsilon_high'] ?? 0.2,
      cap: params['delta'] ?? null,
    },
    kl: {
      beta: params['beta'],
      estimator: 'k3',
      // The trainers of variants know no correction.
      corrected: params['variant'] === undefined && (params['use_bias_correction_kl'] ?? true),
    },
    offPolicyThreshold: params['off_policy_mask_threshold'] ?? null,
    entropyCoefficient: params['entropy_coef'] ?? 0,
  };
}

const denominators: Readonly<Record<string, LossDenominator>> = {
  grpo: 'sequences',
  sapo: 'sequences',
  bnpo: 'tokens',
  dr_grpo: 'constant',
  luspo: 'token-sums',
};

/** `lossWeights` by TRL's names: dapo's kind is of the whole generation batch, the others of one micro-batch. */
export function weightsOf(
  params: Case['params'],
  lengths: readonly number[],
  denominator?: LossDenominator,
): number[] {
  const named = denominator ?? denominators[params['loss_type']];
  if (named)
    return lossWeights(lengths, named, params['max_completion_length']).map(
      (weight) => weight / accumulationOf(params),
    );
  const items =
    (params['num_items_in_batch'] ?? lengths.reduce((sum, length) => sum + length, 0)) /
    (params['num_processes'] ?? 1);
  const accumulation = accumulationOf(params);
  const generation = params['mode'] === 'eval' ? 1 : (params['steps_per_generation'] ?? accumulation);
  return lengths.map(() => generation / (Math.max(1, items) * accumulation));
}

/** TRL's metrics of a batch from what the loss says of its tokens; `perToken`: each token has its own advantage. */
export function metricsOf(
  flat: Flat,
  { tokens }: PolicyGradientLoss,
  options: PolicyGradientOptions,
  perToken = false,
): Got {
  const kl = tokens.kl_N ? { kl: flat.meanOf(tokens.kl_N.toFloat64()) } : {};
  const name = options.objective?.name ?? 'clip';
  const low = tokens.clippedLow_N.to('f64').toFloat64();
  const high = tokens.clippedHigh_N.to('f64').toFloat64();
  const ofSequences = options.ratioLevel === 'sequence' || options.ratioLevel === 'sequence-product';
  const byRow = ofSequences && !perToken;
  const rows = (values: ArrayLike<number>) =>
    flat.rowMeansOf(values).map((value) => (byRow && Number.isNaN(value) ? 0 : value));
  const mean = (values: ArrayLike<number>) => flat.meanOf(byRow ? rows(values) : values);
  const known = (values: number[]) => {
    const found = values.filter((value) => !Number.isNaN(value));
    return found.length > 0 ? found : [Number.NaN];
  };
  if (name === 'cispo') return { ...kl, cispo_clip_ratio: mean(high) };
  if (name !== 'clip' && name !== 'gmpo') return kl;
  return {
    ...kl,
    'clip_ratio/low_mean': mean(low),
    'clip_ratio/low_min': Math.min(...known(rows(low))),
    'clip_ratio/high_mean': mean(high),
    'clip_ratio/high_max': Math.max(...known(rows(high))),
    'clip_ratio/region_mean': mean(low) + mean(high),
  };
}
