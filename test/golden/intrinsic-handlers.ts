/** Owns the golden cases of the teacher's reward and of divergences between models. */

import { type Divergences, divergences } from '../../src/evaluate/divergence.ts';
import { intrinsicRewards, softStateValues, softValues } from '../../src/rewards/intrinsic/soft-bellman.ts';
import { scope } from '../../src/torch/index.ts';
import type { Got, Handlers } from './case.ts';

export const intrinsicHandlers: Handlers = {
  'intrinsic.inverse_soft_bellman': ({ params }, inputs) =>
    scope(() => {
      const logits = inputs.get('logits')!.to('f64');
      const [height, width, vocabulary] = logits.shape as [number, number, number];
      const actions = inputs.get('actions')!;
      const lengths = [...inputs.get('lengths')!.toInt32()];
      const terminal = [...inputs.get('terminal')!.toInt32()];
      const bootstrap = inputs.get('bootstrap_logits');
      const { alpha, gamma } = params as { alpha: number; gamma: number };
      const beyond = bootstrap ? softStateValues(bootstrap.to('f64'), alpha) : null;
      const names = ['q', 'v', 'v_next', 'rewards', 'reward_mask', 'logp', 'logprob_form'] as const;
      const got = Object.fromEntries(names.map((name) => [name, new Float64Array(height * width)])) as Record<
        (typeof names)[number],
        Float64Array
      >;
      const sums: number[] = [];
      for (let b = 0; b < height; b++) {
        const length = lengths[b]!;
        const own = softValues(
          logits.select(0, b).narrow(0, 0, length).view([length, vocabulary]),
          actions.select(0, b).narrow(0, 0, length),
          alpha,
        );
        const end = { terminal: terminal[b] === 1, nextValue: beyond?.[b] ?? null };
        const rewards = intrinsicRewards(own, end, { form: 'bellman', alpha, gamma });
        const logprobs = intrinsicRewards(own, end, { form: 'logprob', alpha, gamma });
        for (let t = 0; t < length; t++) {
          const place = b * width + t;
          got.q[place] = own.q[t]!;
          got.v[place] = own.v[t]!;
          got.logp[place] = own.logp[t]!;
          got.v_next[place] = t + 1 < length ? own.v[t + 1]! : nextOf(end);
          got.rewards[place] = rewards[t] ?? 0;
          got.reward_mask[place] = Number(rewards[t] !== null);
          got.logprob_form[place] = logprobs[t]!;
        }
        const known = rewards.filter((reward) => reward !== null);
        // The sum of a row whose last reward is not known is not known either.
        sums.push(known.length < length ? 0 : known.reduce((sum, reward) => sum + reward, 0));
      }
      return { ...got, return_sum: sums };
    }),
  'intrinsic.divergence': ({ params }, inputs) =>
    scope(() => {
      const [p, q] = ['p_logits', 'q_logits'].map((name) => {
        const logits = inputs.get(name)!.to('f64');
        return logits.view([-1, logits.size(-1)]);
      });
      const mask = inputs.get('mask')!.toFloat64();
      const found = divergences(p!, q!, params['temperature']);
      const count = mask.reduce((sum, value) => sum + value, 0);
      const got: Got = {};
      const means: Record<string, number> = {};
      for (const [ours, theirs] of names) {
        const masked = found[ours].map((value, i) => (mask[i] === 0 ? 0 : value));
        got[theirs] = masked;
        means[theirs] = masked.reduce((sum, value) => sum + value, 0) / count;
      }
      return { ...got, masked_mean: means };
    }),
};

function nextOf(end: { readonly terminal: boolean; readonly nextValue: number | null }): number {
  return end.terminal ? 0 : (end.nextValue ?? 0);
}

const names: readonly (readonly [keyof Divergences, string])[] = [
  ['klPq', 'kl_pq'],
  ['klQp', 'kl_qp'],
  ['js', 'js'],
  ['cosine', 'cosine'],
  ['entropyP', 'entropy_p'],
  ['entropyQ', 'entropy_q'],
  ['top1Agree', 'top1_agree'],
  ['tv', 'tv'],
];
