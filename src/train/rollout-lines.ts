/** Owns the lines of rollouts/train.jsonl: what was said, what it earned and why, what every token earned. Judges nothing. */

import type { ScoredGroup } from '../rewards/index.ts';
import { ReckonError } from '../util/errors.ts';

/**
 * What numbers by token say: a `reward` or an `advantage`; `log-ratio`, how much likelier the teacher finds a token than the
 * policy; `divergence`, how far the policy's distribution is from the teacher's before it. In nats, the latter two.
 */
export type TokenScoreKind = 'reward' | 'advantage' | 'log-ratio' | 'divergence';

/** A number for every completion token: a list for each rollout, in the order of the groups. */
export interface TokenScores {
  readonly kind: TokenScoreKind;
  readonly values: readonly (readonly number[])[];
}

/** What a trainer knows of its rollouts beside their scores. */
export interface RolloutFacts {
  /** One a rollout, by groups. */
  readonly advantages?: readonly (readonly number[])[];
  readonly tokens?: TokenScores | null;
}

/** The lines of a step's rollouts, group by group; throws `token-scores-misaligned` where a token has no number. */
export function rolloutLines(
  step: number,
  groups: readonly ScoredGroup[],
  { advantages, tokens = null }: RolloutFacts = {},
): object[] {
  const all = groups.flatMap(({ scored }, g) =>
    scored.map((one, i) => ({ ...one, advantage: advantages?.[g]?.[i] })),
  );
  if (tokens && tokens.values.length !== all.length) misaligned(all.length, tokens.values.length, 'rollouts');
  return all.map(({ rollout, reward, parts, advantage, judgement, formatOk }, i) => ({
    step,
    problemId: rollout.problemId,
    sampleIndex: rollout.sampleIndex,
    promptIds: rollout.promptIds,
    completion: rollout.text,
    completionIds: rollout.completionIds,
    stopReason: rollout.stopReason,
    reward,
    parts,
    ...(advantage === undefined ? {} : { advantage }),
    ...judgement,
    formatOk,
    ...(tokens ? tokenFields(tokens.kind, tokens.values[i]!, rollout.completionIds.length) : {}),
  }));
}

function tokenFields(kind: TokenScoreKind, values: readonly number[], length: number): object {
  if (values.length !== length) misaligned(length, values.length, 'tokens of a rollout');
  // Five digits are more than a shade shows.
  return { tokenRewards: values.map((value) => Number(value.toPrecision(5))), tokenRewardKind: kind };
}

function misaligned(expected: number, found: number, what: string): never {
  throw new ReckonError(
    'run',
    'token-scores-misaligned',
    `expected numbers for ${expected} ${what}, found ${found}; this is a fault of the trainer, please report it`,
  );
}
