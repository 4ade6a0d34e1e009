/** Owns the plain type of what the engine produced for one sample of one prompt. */

/** Why a completion ended: an end-of-sequence id, a stop string, the length limit, or an abort from outside. */
export type StopReason = 'eos' | 'stop' | 'length' | 'aborted';

/** What else the engine recorded of a completion's tokens, one entry a token. */
export interface TokenStatistics {
  /** Log-probability at temperature 1 over the whole policy vocabulary (nats). */
  readonly plainLogps: readonly number[];
  /** Of the distribution at the sampling temperature (nats). */
  readonly entropies: readonly number[];
  /** The likeliest ids in descending order, with their `logps`. */
  readonly alternatives: readonly (readonly { readonly id: number; readonly logp: number }[])[];
}

/** One sampled completion. Token ids are the truth; `text` is derived from them. */
export interface Completion {
  readonly problemId: string;
  /** Which of the problem's samples this is; part of its random stream. */
  readonly sampleIndex: number;
  readonly promptIds: readonly number[];
  /** Sampled ids, the ending id included. */
  readonly completionIds: readonly number[];
  /**
   * Log-probability of each id at the sampling temperature over the whole policy vocabulary (nats, f32); empty where a
   * server said none of that kind.
   */
  readonly logps: readonly number[];
  /**
   * Log-probability under the distribution sampled from, after bans, penalty, top-k, top-p and min-p (nats); empty where a
   * server did not say.
   */
  readonly samplingLogps: readonly number[];
  readonly stopReason: StopReason;
  /** The completion decoded, special tokens left out. */
  readonly text: string;
  /** The training step whose weights sampled it. */
  readonly policyStep: number;
  /** Where the options asked for them. */
  readonly statistics?: TokenStatistics;
}
