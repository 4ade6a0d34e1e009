import type { RewardFunction } from 'reckon/rewards';

/**
 * 1 for a completion of one line, less for each line more: search little. A reward is a number, or null where it cannot be
 * known; it may be async. `problem.meta` holds what the task knows of the problem.
 */
export const brevity: RewardFunction = ({ rollout }) => {
  const lines = rollout.text.trim().split('\n').length;
  return 1 / lines;
};
