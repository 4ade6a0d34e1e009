/** Which keys the losses do not read, by their own numbers: a recipe that has one of them is refused. */

import { expect, it } from 'vitest';
import { policyGradientLoss } from '../../src/losses/index.ts';
import type { PreferenceObjective } from '../../src/losses/preference-names.ts';
import { idleKeys, parseResolved } from '../../src/recipe/index.ts';
import { fromBytes, ids, scope } from '../../src/torch/index.ts';
import { type ObjectiveOptions, pairObjective } from '../../src/train/preference-objective.ts';

const floats = (...values: readonly number[]) => fromBytes(Float32Array.from(values), 'f32', [values.length]);

function idleIn(stage: string): string[] {
  const text = `version: 1\nname: idle\ntask: { name: game24 }\nmodel: { init: {} }\nstages:\n  - type: prepare\n  - { ${stage} }\n`;
  return idleKeys(parseResolved(text, 'r.yaml'), 1).map(({ keys }) => keys.join('.'));
}

const clip = { low: 0.2, high: 0.2, cap: null, dual: null } as const;
const other = { low: 0.05, high: 0.05, cap: 0.9, dual: 1.1 } as const;

/** Ratios far from 1 with advantages of both signs, so that every bound can be active. */
function policyLoss(objective: string, more: object): number {
  return scope(() => {
    const { loss } = policyGradientLoss(
      {
        logps_N: floats(-1, -1.5, -1, -3, -0.2, -2),
        oldLogps_N: floats(-2, -1, -1.2, -1, -1, -1.9),
        referenceLogps_N: null,
        advantages_N: floats(1, 1, 1, -1, -1, -1),
        weights_N: floats(1, 1, 1, 1, 1, 1),
        rows: { rows_N: ids([0, 0, 0, 1, 1, 1]), count: 2 },
      },
      {
        objective: {
          name: objective,
          ...(objective === 'sapo' ? { positive: 1, negative: 1.05 } : {}),
          ...(objective === 'vespo' ? { positive: { k: 2, lambda: 3 }, negative: { k: 3, lambda: 2 } } : {}),
        } as never,
        clip,
        kl: { beta: 0, estimator: 'k3' },
        ...more,
      },
    );
    return loss.item();
  });
}

it.each(['clip', 'cispo', 'sapo', 'vespo', 'gmpo', 'reinforce'])(
  'of the objective %s: bounds and the level of the ratio',
  (objective) => {
    const plain = policyLoss(objective, {});
    const unread = (['low', 'high', 'cap', 'dual'] as const)
      .filter((key) => policyLoss(objective, { clip: { ...clip, [key]: other[key] } }) === plain)
      .map((key) => `clip.${key}`);
    if (policyLoss(objective, { ratioLevel: 'sequence' }) === plain) unread.push('ratioLevel');
    const idle = idleIn(`type: grpo, steps: 1, objective: ${objective}, ratioLevel: sequence`);
    expect(idle.filter((key) => key === 'ratioLevel' || key.startsWith('clip.'))).toEqual(unread);
  },
);

const objectives: readonly PreferenceObjective[] = [
  ...(['sigmoid', 'sigmoid_norm', 'hinge', 'ipo', 'robust', 'exo_pair', 'discopop', 'nca_pair'] as const),
  ...(['bco_pair', 'sppo_hard', 'apo_zero', 'apo_down', 'aot', 'aot_unpaired', 'sft'] as const),
  ...(['simpo', 'cpo', 'orpo', 'kto'] as const),
];

it.each(objectives)('of the preference objective %s: all numbers, and the reference', (objective) => {
  const base: ObjectiveOptions = {
    objective,
    beta: 0.2,
    labelSmoothing: 0.1,
    gamma: 0.5,
    nllWeight: 0,
    desirableWeight: 1,
    undesirableWeight: 1,
  };
  const lossOf = (options: ObjectiveOptions, reference: readonly number[]) =>
    scope(() => {
      const batch = { lengths: [3, 4, 5, 6], reference: Float32Array.from(reference), zeroPoint: 0 };
      return pairObjective(floats(-3, -5, -4, -9), batch, options).loss.item();
    });
  const reference = [-3.5, -4.2, -3.1, -8.6];
  const plain = lossOf(base, reference);
  const changes = {
    beta: 0.3,
    labelSmoothing: 0.2,
    gamma: 1,
    desirableWeight: 2,
    undesirableWeight: 2,
  } as const;
  const unread = Object.entries(changes)
    .filter(([key, value]) => lossOf({ ...base, [key]: value }, reference) === plain)
    .map(([key]) => key);
  if (lossOf(base, [-3, -4, -5, -6]) === plain) unread.push('reference');
  const known = [...Object.keys(changes), 'reference'];
  const idle = idleIn(`type: dpo, steps: 1, labelSmoothing: 0.1, objective: ${objective}`);
  expect(idle.filter((key) => known.includes(key)).sort()).toEqual(unread.sort());
});
