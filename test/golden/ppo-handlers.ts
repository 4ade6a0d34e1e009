/** Owns the golden cases of PPO: advantages, whitening, the clipped losses, and TRL's arithmetic around them. */

import { gae, tokenRewards, whiten } from '../../src/advantages/index.ts';
import {
  klPerToken,
  type PolicyGradientOptions,
  policyGradientLoss,
  termsOfLogits,
  valueLoss,
} from '../../src/losses/index.ts';
import { backward, scope, type Tensor } from '../../src/torch/index.ts';
import { type Case, chunked, type Got, type Handlers, type Tensors } from './case.ts';
import { Flat } from './policy-handlers.ts';

export const ppoHandlers: Handlers = {
  'ppo.gae': ({ params }, inputs) => {
    const [rewards, values, dones] = ['rewards', 'values', 'dones'].map((name) => rowsOf(inputs, name)!);
    const mask = rowsOf(inputs, 'mask');
    const last = inputs.get('last_values')!.toFloat64();
    const rows = rewards!.map((row, b) =>
      gae(row, values![b]!, {
        gamma: params['gamma'],
        lambda: params['lam'],
        lastValue: last[b]!,
        dones: dones![b]!,
        ...(mask ? { mask: mask[b]! } : {}),
      }),
    );
    return { advantages: rows.map((row) => row.advantages), returns: rows.map((row) => row.returns) };
  },
  'ppo.whiten': ({ params }, inputs) => ({
    whitened: whiten(
      inputs.get('values')!.toFloat64(),
      {
        shiftMean: params['shift_mean'],
        ddof: params['ddof'],
        epsilon: params['eps'],
        insideRoot: params['inside_sqrt'],
      },
      inputs.get('mask')!.toFloat64(),
    ),
  }),
  'ppo.policy_loss': (one, inputs) =>
    scope(() => {
      const flat = new Flat(inputs.get('mask')!, 'f64');
      return policyLoss(one, inputs, flat, 'logps', 'old_logps', {
        low: one.params['epsilon_low'],
        high: one.params['epsilon_high'],
        dual: one.params['dual_clip'],
      });
    }),
  'ppo.value_loss': ({ params }, inputs) =>
    scope(() => valueTerm(inputs, new Flat(inputs.get('mask')!, 'f64'), 'values', params['clip'])),
  'ppo.entropy': (_one, inputs) =>
    scope(() => {
      const flat = new Flat(inputs.get('mask')!, 'f64');
      const logits = leaf(inputs.get('logits')!);
      const entropies = entropiesOf(logits);
      const mean_ = flat.of(entropies)!.mean();
      backward(mean_);
      return {
        entropy: entropies.detach().toFloat64(),
        mean: mean_.item(),
        grad_logits: logits.grad!.toFloat64(),
      };
    }),
  'ppo.kl': (_one, inputs) => scope(() => klOf(inputs)),
  'ppo.objective': (one, inputs) => scope(() => objective(one, inputs)),
  'ppo.trl_rollout': trlRollout,
  'ppo.trl_update': (one, inputs) =>
    scope(() => {
      const kept = (name: string) => new Flat(inputs.get(name)!.to('f64').neg().add(1), 'f64');
      const clip = { low: one.params['cliprange'], high: one.params['cliprange'] };
      const policy = policyLoss(one, inputs, kept('padding_mask'), 'new_logprobs', 'old_logprobs', clip);
      const value = valueTerm(inputs, kept('padding_mask_p1'), 'vpred', one.params['cliprange_value']);
      const weight: number = one.params['vf_coef'];
      return {
        loss: (policy['loss'] as number) + weight * (value['loss'] as number),
        pg_loss: policy['loss'],
        vf_loss: value['loss'],
        vf_clipfrac: value['clipfrac'],
        grad_new_logprobs: policy['grad_logps'],
        grad_vpred: (value['grad_values'] as Float64Array).map((slope) => weight * slope),
      };
    }),
};

function rowsOf(inputs: Tensors, name: string): number[][] | undefined {
  const tensor = inputs.get(name);
  return tensor && chunked([...tensor.toFloat64()], tensor.size(1));
}

function leaf(values: Tensor): Tensor {
  return values.to('f64').clone().detach().requiresGrad_();
}

function policyLoss(
  _one: Case,
  inputs: Tensors,
  flat: Flat,
  logpName: string,
  oldName: string,
  clip: PolicyGradientOptions['clip'],
): Got {
  const logps_N = leaf(flat.of(inputs.get(logpName))!);
  const oldLogps_N = flat.of(inputs.get(oldName))!;
  const advantages_N = flat.of(inputs.get('advantages'))!;
  const weights_N = flat.numbers(flat.rowOf.map(() => 1 / flat.rowOf.length));
  const { loss, tokens } = policyGradientLoss(
    { logps_N, oldLogps_N, referenceLogps_N: null, advantages_N, weights_N },
    { clip, kl: { beta: 0, estimator: 'k1' } },
  );
  backward(loss);
  const ratios = tokens.ratio_N.toFloat64();
  const advantages = advantages_N.toFloat64();
  const share = (test: (i: number) => boolean) => flat.meanOf(Array.from(ratios, (_, i) => Number(test(i))));
  const logRatio = logps_N.detach().sub(oldLogps_N);
  const bounded = (ratio: number) => Math.min(1 + clip.high, Math.max(1 - clip.low, ratio));
  return {
    loss: loss.item(),
    grad_logps: flat.unflatten(logps_N.grad!.toFloat64()),
    ratio_mean: flat.meanOf(ratios),
    clipfrac: share((i) => -advantages[i]! * bounded(ratios[i]!) > -advantages[i]! * ratios[i]!),
    clipfrac_cleanrl: share((i) => Math.abs(ratios[i]! - 1) > clip.low),
    approx_kl_k1: -flat.meanOf(logRatio.toFloat64()),
    approx_kl_k2: flat.meanOf(logRatio.toFloat64().map((value) => value ** 2 / 2)),
    approx_kl_k3: flat.meanOf(logRatio.toFloat64().map((value) => Math.expm1(value) - value)),
  };
}

function valueTerm(inputs: Tensors, flat: Flat, name: string, clip: number | null): Got {
  const values_N = leaf(flat.of(inputs.get(name))!);
  const { loss, clipped_N } = valueLoss(
    {
      values_N,
      oldValues_N: flat.of(inputs.get('old_values'))!,
      returns_N: flat.of(inputs.get('returns'))!,
      weights_N: flat.numbers(flat.rowOf.map(() => 1 / flat.rowOf.length)),
    },
    clip,
  );
  backward(loss);
  return {
    loss: loss.item(),
    clipfrac: flat.meanOf(clipped_N.to('f64').toFloat64()),
    grad_values: flat.unflatten(values_N.grad!.toFloat64()),
  };
}

/** Entropies [B, T] of logits [B, T, V]. */
function entropiesOf(logits: Tensor): Tensor {
  const [b, t, v] = logits.shape as [number, number, number];
  const flat = logits.view([b * t, v]);
  return termsOfLogits(flat, flat.argmax(-1)).entropies_N.view([b, t]);
}

function klOf(inputs: Tensors): Got {
  const [p, q] = ['logits_p', 'logits_q'].map((name) => inputs.get(name)!.to('f64').logSoftmax(-1));
  const actions = inputs.get('actions')!.unsqueeze(-1);
  const chosen = (all: Tensor) => all.gather(-1, actions).squeeze(-1);
  const [logp, logq] = [chosen(p!), chosen(q!)];
  const got: Got = {
    logp: logp.toFloat64(),
    logq: logq.toFloat64(),
    exact_kl_p_q: p!.exp().mul(p!.sub(q!)).sum(-1).toFloat64(),
  };
  for (const kind of ['k1', 'k2', 'k3'] as const) {
    const free = leaf(logp);
    const estimate = klPerToken(free, logq, kind);
    backward(estimate.sum());
    got[kind] = estimate.toFloat64();
    got[`grad_${kind}_logp`] = free.grad!.toFloat64();
  }
  return got;
}

function objective({ params }: Case, inputs: Tensors): Got {
  const flat = new Flat(inputs.get('mask')!, 'f64');
  const logits = leaf(inputs.get('logits')!);
  const values = leaf(inputs.get('values')!);
  const [b, t, v] = logits.shape as [number, number, number];
  const terms = termsOfLogits(logits.view([b * t, v]), inputs.get('actions')!.view([-1]));
  const weights_N = flat.numbers(flat.rowOf.map(() => 1 / flat.rowOf.length));
  const policy = policyGradientLoss(
    {
      logps_N: flat.of(terms.logps_N.view([b, t]))!,
      oldLogps_N: flat.of(inputs.get('old_logps'))!,
      referenceLogps_N: null,
      advantages_N: flat.of(inputs.get('advantages'))!,
      weights_N,
      entropies_N: flat.of(terms.entropies_N.view([b, t]))!,
      entropyWeights_N: weights_N,
    },
    {
      clip: { low: params['epsilon'], high: params['epsilon'] },
      kl: { beta: 0, estimator: 'k1' },
      entropyCoefficient: params['ent_coef'],
    },
  );
  const value = valueLoss(
    {
      values_N: flat.of(values)!,
      oldValues_N: flat.of(inputs.get('old_values'))!,
      returns_N: flat.of(inputs.get('returns'))!,
      weights_N,
    },
    params['value_clip'],
  );
  const loss = policy.loss.add(value.loss, params['vf_coef']);
  backward(loss);
  const entropy = flat
    .of(terms.entropies_N.detach().view([b, t]))!
    .mean()
    .item();
  return {
    loss: loss.item(),
    policy_loss: policy.loss.item() + params['ent_coef'] * entropy,
    value_loss: value.loss.item(),
    entropy,
    grad_logits: logits.grad!.toFloat64(),
    grad_values: values.grad!.toFloat64(),
  };
}

/** TRL gives the score one place behind the last token where there is one, and keeps that place's value. */
function trlRollout({ params }: Case, inputs: Tensors): Got {
  const [logps, reference, values] = ['logprobs', 'ref_logprobs', 'values'].map(
    (name) => rowsOf(inputs, name)!,
  );
  const scores = inputs.get('scores')!.toFloat64();
  const lastTokens = [...inputs.get('sequence_lengths')!.toInt32()];
  const width = logps![0]!.length;
  const padding = lastTokens.map((last) => Array.from({ length: width }, (_, t) => Number(t > last)));
  const paddingNext = lastTokens.map((last) => Array.from({ length: width }, (_, t) => Number(t > last + 1)));
  const kept = paddingNext.flat().map((pad) => 1 - pad);
  const k = (difference: number) =>
    params['kl_estimator'] === 'k1' ? difference : Math.exp(-difference) - 1 + difference;
  const raw = lastTokens.map((last, b) =>
    tokenRewards(
      width,
      {
        score: scores[b]!,
        kl: logps![b]!.map((logp, t) => (padding[b]![t] ? 0 : k(logp - reference![b]![t]!))),
      },
      { klCoefficient: params['kl_coef'], scoreAt: last + 1 < width ? last + 1 : last },
    ),
  );
  const rewards = params['whiten_rewards']
    ? chunked(whiten(raw.flat(), { shiftMean: false }, kept), width)
    : raw;
  const valued = values!.map((row, b) => row.map((value, t) => (paddingNext[b]![t] ? 0 : value)));
  const rows = rewards.map((row, b) =>
    gae(row, valued[b]!, { gamma: params['gamma'], lambda: params['lam'] }),
  );
  const tokens = padding.flat().map((pad) => 1 - pad);
  return {
    padding_mask: padding,
    padding_mask_p1: paddingNext,
    rewards,
    values: valued,
    returns: rows.map((row) => row.returns),
    advantages: whiten(
      rows.flatMap((row) => row.advantages),
      {},
      tokens,
    ),
  };
}
