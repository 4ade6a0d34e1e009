/** Owns generalised advantage estimation (Schulman et al. 2016) of one sequence, on plain arrays. Knows no model. */

export interface GaeOptions {
  /** Discount; 1 for reasoning, where the answer at the end counts in full. */
  readonly gamma: number;
  /** 1: Monte Carlo returns; 0: one-step differences. */
  readonly lambda: number;
  /** Value after the last step that counts; 0 where the sequence ended by itself. */
  readonly lastValue?: number;
  /** 1 where the state after a step is terminal: its value is 0 and the recursion is cut there. */
  readonly dones?: ArrayLike<number>;
  /** 0 for steps that are no actions (padding, a tool's words): values and advantages pass through them unchanged. */
  readonly mask?: ArrayLike<number>;
}

/** One number a step, 0 where the mask is. */
export interface Gae {
  readonly advantages: number[];
  /** advantages + values: what the value function is trained towards. */
  readonly returns: number[];
}

/** delta_t = r_t + gamma V_t+1 - V_t; A_t = delta_t + gamma lambda A_t+1. */
export function gae(rewards: ArrayLike<number>, values: ArrayLike<number>, options: GaeOptions): Gae {
  const { gamma, lambda, lastValue = 0, dones, mask } = options;
  const advantages = new Array<number>(rewards.length).fill(0);
  const returns = new Array<number>(rewards.length).fill(0);
  let nextValue = lastValue;
  let nextAdvantage = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    if (mask?.[t] === 0) continue;
    const goesOn = dones?.[t] ? 0 : 1;
    const delta = rewards[t]! + gamma * nextValue * goesOn - values[t]!;
    nextAdvantage = delta + gamma * lambda * goesOn * nextAdvantage;
    nextValue = values[t]!;
    advantages[t] = nextAdvantage;
    returns[t] = nextAdvantage + nextValue;
  }
  return { advantages, returns };
}
