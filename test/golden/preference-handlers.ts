/** Owns the golden cases of preference losses: on given logits, and on a model through the trainer's own path. */

import type { PreferencePair } from '../../src/data/training-rows.ts';
import {
  alignedLogps,
  cpoLoss,
  desensitisedWeights,
  ktoLoss,
  ktoZeroPoint,
  orpoLoss,
  type PairValues,
  type PreferenceOptions,
  preferenceLoss,
} from '../../src/losses/index.ts';
import type { Decoder } from '../../src/models/index.ts';
import {
  backward,
  cat,
  type DType,
  full,
  noGrad,
  scope,
  type Tensor,
  tensor,
} from '../../src/torch/index.ts';
import { pairSequences } from '../../src/train/pairs.ts';
import { type Case, chunked, type Got, type Handlers, type Tensors } from './case.ts';
import { gradientsOf, trainableModel } from './model-step.ts';
import { pairRectangle, pairStatistics, pairStep, pairTensors } from './pair-step.ts';
import { labelsOf, meanOver, type TokenStatistics, tokenStatistics } from './token-statistics.ts';

export const preferenceHandlers: Handlers = {
  'dpo.step': (one) => {
    const pairs = (one.inputs['examples']!.value as PairIds[]).map(pairOf);
    using policy = trainableModel(one);
    using reference = trainableModel(one, 'ref_model');
    const step = isTrained(one) ? pairStep : wholeStep;
    return {
      ...pairRectangle(pairSequences(pairs), one.params['pad_token_id']),
      ...step(one, policy, reference, pairs),
      ...gradientsOf(policy),
    };
  },
  'dpo.loss': (one, inputs) =>
    inBothDtypes((dtype) => {
      const logits = leafOf(inputs, 'logits', dtype);
      const { loss, ...got } = dpo(one, inputs, logits);
      return { ...gradientOf(loss, logits), ...got };
    }),
  'kto.loss': (one, inputs) => inBothDtypes((dtype) => kto(one, inputs, dtype)),
  'cpo.loss': (one, inputs) => inBothDtypes((dtype) => cpo(one, inputs, dtype)),
  'orpo.loss': (one, inputs) => inBothDtypes((dtype) => orpo(one, inputs, dtype)),
};

type PairIds = Readonly<Record<'prompt_ids' | 'chosen_ids' | 'rejected_ids', number[]>>;

function pairOf({ prompt_ids, chosen_ids, rejected_ids }: PairIds): PreferencePair {
  return { promptIds: prompt_ids, chosenIds: chosen_ids, rejectedIds: rejected_ids };
}

/** A handler's numbers in f32, and its loss and gradient in f64 beside them. */
function inBothDtypes(compute: (dtype: DType) => Got): Got {
  const double = scope(() => compute('f64'));
  return {
    ...scope(() => compute('f32')),
    loss_f64: double['loss'],
    grad_logits_f64: double['grad_logits'],
  };
}

/** The loss and its gradient by the logits, which are a leaf. */
function gradientOf(loss: Tensor, logits: Tensor): Got {
  backward(loss);
  return { loss: loss.item(), grad_logits: logits.grad!.toFloat64() };
}

function leafOf(inputs: Tensors, name: string, dtype: DType): Tensor {
  return inputs.get(name)!.to(dtype).clone().requiresGrad_();
}

/** The first half of the rows is chosen, the second rejected. */
function halves(rows: Tensor): PairValues {
  const pairs = rows.size(0) / 2;
  return { chosen_P: rows.narrow(0, 0, pairs), rejected_P: rows.narrow(0, pairs, pairs) };
}

function dpoOptions({ params }: Case): PreferenceOptions {
  return {
    beta: params['beta'],
    labelSmoothing: params['label_smoothing'] ?? 0,
    discopopTau: params['discopop_tau'] ?? 0.05,
    divergence: params['f_divergence_type'] ?? 'reverse_kl',
    alpha: params['f_alpha_divergence_coef'] ?? 1,
  };
}

/** Whether the trainer has the case's loss: one alone, of summed log-ratios, with the constants that it knows. */
function isTrained({ params }: Case): boolean {
  const plain = (params['ld_alpha'] ?? null) === null && !params['use_weighting'];
  const divergence = params['f_divergence_type'] ?? 'reverse_kl';
  const own = divergence === 'reverse_kl' && (params['discopop_tau'] ?? 0.05) === 0.05;
  return plain && own && params['loss_type'].length === 1 && (params['loss_weights']?.[0] ?? 1) === 1;
}

/** A step of the losses that the trainer does not have, on the whole logits of all rows at once. */
function wholeStep(one: Case, policy: Decoder, reference: Decoder, pairs: readonly PreferencePair[]): Got {
  return scope(() => {
    const inputs = pairTensors(pairSequences(pairs));
    const logitsOf = (model: Decoder) => model.logits(model.forward(inputs.get('input_ids')!));
    const ref = noGrad(() => logitsOf(reference));
    const { loss, ...got } = dpo(one, new Map([...inputs, ['ref_logits', ref]]), logitsOf(policy));
    backward(loss);
    return { ...got, loss: loss.item() };
  });
}

function dpo(one: Case, inputs: Tensors, logits: Tensor): Got & { readonly loss: Tensor } {
  const { params } = one;
  const { dtype } = logits;
  const labels = labelsOf(inputs.get('input_ids')!, inputs.get('completion_mask')!);
  const policy = tokenStatistics(logits, labels);
  const reference = tokenStatistics(inputs.get('ref_logits')!.to(dtype), labels);
  const lengths = inputs.get('completion_mask')!.to(dtype).sum(1);
  const alpha: number | null = params['ld_alpha'] ?? null;
  const weights = alpha === null ? policy.mask : desensitised(policy.mask, alpha);
  const sums = (statistics: TokenStatistics) => halves(statistics.logps.mul(weights).sum(1));
  const pairs = { policy: sums(policy), reference: sums(reference), lengths: halves(lengths) };
  const weightsOf: readonly number[] = params['loss_weights'] ?? params['loss_type'].map(() => 1);
  const terms = weightsOf.map((weight, i) => ({ kind: params['loss_type'][i], weight }));
  const given = { ...pairs, plainChosen_P: halves(policy.logps.sum(1)).chosen_P };
  // TRL's logistic losses know no smoothing.
  const plain = terms.filter(({ kind }) => ['sigmoid', 'sigmoid_norm'].includes(kind));
  const parts = [
    { of: plain, options: { ...dpoOptions(one), labelSmoothing: 0 } },
    { of: terms.filter((term) => !plain.includes(term)), options: dpoOptions(one) },
  ].filter(({ of }) => of.length > 0);
  const found = parts.map(({ of, options }) => preferenceLoss(given, of, options));
  const losses_P = found.map((part) => part.losses_P).reduce((sum, part) => sum.add(part));
  const { rewards } = found[0]!;
  const weighted_P = params['use_weighting'] ? losses_P.mul(onPolicyWeights(logits, policy)) : losses_P;
  return {
    loss: weighted_P.mean(),
    metrics: { ...pairMetrics(pairs.policy, rewards), ...pairStatistics(policy) },
    chosen_logps: pairs.policy.chosen_P.toFloat64(),
    rejected_logps: pairs.policy.rejected_P.toFloat64(),
    ref_chosen_logps: pairs.reference.chosen_P.toFloat64(),
    ref_rejected_logps: pairs.reference.rejected_P.toFloat64(),
    chosen_rewards: rewards.chosen_P.toFloat64(),
    rejected_rewards: rewards.rejected_P.toFloat64(),
  };
}

/** `desensitisedWeights` of every row, spread over the places of its mask. */
function desensitised(mask: Tensor, alpha: number): Tensor {
  const [rows, width] = mask.shape as [number, number];
  const places = chunked([...mask.toInt32()], width);
  const lengths = places.map((row) => row.reduce((sum, one) => sum + one, 0));
  const values = places.flatMap((row, b) => {
    const weights = desensitisedWeights(lengths[b]!, lengths[(b + rows / 2) % rows]!, alpha);
    let t = 0;
    return row.map((one) => (one === 1 ? weights[t++]! : 0));
  });
  return tensor(values, { dtype: 'f64', shape: [rows, width] }).to(mask.dtype);
}

/** WPO's weight of a pair, from its two completions' mean aligned log-probabilities. */
function onPolicyWeights(logits: Tensor, { logps, mask }: TokenStatistics): Tensor {
  return noGrad(() => {
    const aligned = alignedLogps(logits.narrow(1, 0, logits.size(1) - 1), logps).mul(mask);
    const { chosen_P, rejected_P } = halves(aligned.sum(1).div(mask.sum(1).clamp(1)).exp());
    return chosen_P.mul(rejected_P);
  });
}

function pairMetrics(logps: PairValues, { chosen_P, rejected_P }: PairValues): Got {
  const [chosen, rejected] = [chosen_P.mean().item(), rejected_P.mean().item()];
  return {
    'logps/chosen': logps.chosen_P.detach().mean().item(),
    'logps/rejected': logps.rejected_P.detach().mean().item(),
    'rewards/chosen': chosen,
    'rewards/rejected': rejected,
    'rewards/margins': chosen - rejected,
    'rewards/accuracies': rejected_P.lt(chosen_P).to('f64').mean().item(),
  };
}

function kto({ params }: Case, inputs: Tensors, dtype: DType): Got {
  const logits = leafOf(inputs, 'logits', dtype);
  const labels = labelsOf(inputs.get('input_ids')!, inputs.get('completion_mask')!);
  const policy = tokenStatistics(logits, labels);
  const sums_B = policy.logps.sum(1);
  const reference_B = tokenStatistics(inputs.get('ref_logits')!.to(dtype), labels).logps.sum(1);
  const zero = params['loss_type'] === 'kto' ? ktoZeroPoint(mismatchedRatios(inputs, dtype)) : 0;
  const desirable_B = inputs.get('label')!.to(dtype);
  const { losses_B, rewards_B } = ktoLoss(
    { ratios_B: sums_B.sub(reference_B), signs_B: desirable_B.mul(2).sub(1) },
    zero,
    {
      beta: params['beta'],
      desirableWeight: params['desirable_weight'],
      undesirableWeight: params['undesirable_weight'],
    },
  );
  const metrics: Got = { entropy: meanOver(policy, 'entropies'), kl: zero };
  for (const [side, rows] of [
    ['chosen', desirable_B],
    ['rejected', desirable_B.neg().add(1)],
  ] as const) {
    const share = (values: Tensor, of: Tensor) => values.detach().mul(of).sum().item() / of.sum().item();
    metrics[`rewards/${side}`] = share(rewards_B, rows);
    metrics[`logps/${side}`] = share(sums_B, rows);
    metrics[`logits/${side}`] = share(policy.logits, rows.unsqueeze(1).mul(policy.mask));
  }
  metrics['rewards/margins'] = Number(metrics['rewards/chosen']) - Number(metrics['rewards/rejected']);
  return { ...gradientOf(losses_B.mean(), logits), metrics };
}

/** Log-ratios of completions under prompts that are not theirs. */
function mismatchedRatios(inputs: Tensors, dtype: DType): number[] {
  const labels = labelsOf(inputs.get('KL_input_ids')!, inputs.get('KL_completion_mask')!);
  const sums = (name: string) => tokenStatistics(inputs.get(name)!.to(dtype), labels).logps.sum(1);
  return [...sums('KL_logits').sub(sums('ref_KL_logits')).toFloat64()];
}

/** Labels of chosen, then rejected rows, as wide as the logits. */
function pairLabels(inputs: Tensors): Tensor {
  const width = inputs.get('logits')!.size(1);
  return cat(['chosen_labels', 'rejected_labels'].map((name) => widened(inputs.get(name)!, width)));
}

/** Labels with -100 to the right. */
function widened(labels: Tensor, width: number): Tensor {
  return cat([labels, full([labels.size(0), width - labels.size(1)], -100, 'i64')], 1);
}

/** Mean logits over all places of the rows, padding included, up to `width`. */
function meanLogits(logits: Tensor, width: number): Got {
  const { chosen_P, rejected_P } = halves(logits.detach().narrow(1, 0, width));
  return { 'logits/chosen': chosen_P.mean().item(), 'logits/rejected': rejected_P.mean().item() };
}

function cpo({ params }: Case, inputs: Tensors, dtype: DType): Got {
  const logits = leafOf(inputs, 'logits', dtype);
  const labels = pairLabels(inputs);
  const { logps, mask } = tokenStatistics(logits, labels);
  const kind = params['loss_type'] === 'simpo' ? 'sigmoid' : params['loss_type'];
  const averaged = params['loss_type'] === 'simpo' || params['loss_type'] === 'ipo';
  const sums = logps.sum(1);
  const pairs = halves(averaged ? sums.div(mask.sum(1)) : sums);
  const { losses_P, rewards } = cpoLoss(pairs, kind, {
    beta: params['beta'],
    labelSmoothing: params['label_smoothing'],
    discopopTau: 1,
    gamma: params['loss_type'] === 'simpo' ? params['simpo_gamma'] : 0,
    alpha: params['alpha'],
  });
  const chosenTokens = halves(mask).chosen_P.sum();
  const nll = halves(logps)
    .chosen_P.sum()
    .div(chosenTokens)
    .mul(params['cpo_alpha'] === 0 ? 0 : -1);
  return {
    ...gradientOf(losses_P.mean().add(nll, params['cpo_alpha']), logits),
    metrics: {
      ...pairMetrics(pairs, rewards),
      ...meanLogits(logits, logits.size(1)),
      nll_loss: nll.detach().item(),
    },
  };
}

function orpo({ params }: Case, inputs: Tensors, dtype: DType): Got {
  const logits = leafOf(inputs, 'logits', dtype);
  const completion = tokenStatistics(logits, pairLabels(inputs));
  const pairs = halves(completion.logps.sum(1).div(completion.mask.sum(1)));
  const { losses_P, rewards, logOdds_P } = orpoLoss(pairs, params['beta']);
  // TRL's likelihood term reads the prompts too.
  const everything = labelsOf(inputs.get('chosen_input_ids')!, inputs.get('chosen_attention_mask')!);
  const whole = tokenStatistics(halves(logits).chosen_P, widened(everything, logits.size(1)));
  const nll = whole.logps.sum().div(whole.mask.sum()).neg();
  return {
    ...gradientOf(losses_P.mean().add(nll), logits),
    metrics: {
      ...pairMetrics(pairs, rewards),
      ...meanLogits(logits, logits.size(1) - 1),
      nll_loss: nll.detach().item(),
      log_odds_ratio: losses_P.detach().mean().item() / -params['beta'],
      log_odds_chosen: logOdds_P.mean().item(),
    },
  };
}
