/** Owns what the preference objectives read, by their names. Computes nothing and needs no torch. */

import type { PreferenceLossKind } from './preference.ts';

/** DPO's family by TRL's names; `simpo`, `cpo` and `orpo` have no reference, `kto` judges completions one by one. */
export type PreferenceObjective = PreferenceLossKind | 'simpo' | 'cpo' | 'orpo' | 'kto';

const withoutReference: readonly PreferenceObjective[] = ['simpo', 'cpo', 'orpo', 'sft'];

/** Those of a logistic loss. */
const smoothed: readonly PreferenceObjective[] = [
  'sigmoid',
  'sigmoid_norm',
  'robust',
  'exo_pair',
  'aot',
  'aot_unpaired',
  'simpo',
  'cpo',
];

/** Whether a loss compares with a reference policy. */
export function needsReference(objective: PreferenceObjective): boolean {
  return !withoutReference.includes(objective);
}

/** Whether a loss reads the share of pairs believed to be the wrong way round. */
export function smoothsLabels(objective: PreferenceObjective): boolean {
  return smoothed.includes(objective);
}
