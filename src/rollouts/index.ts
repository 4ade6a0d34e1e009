/** Owns the public face of rollouts. */

export { type CollectOptions, collectGroups } from './collect.ts';
export type { Group, Rollout, StopReason } from './rollout.ts';
