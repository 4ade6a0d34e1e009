/** Owns how a reward's scale is brought to a common one, by the names that recipes use. Knows no reward's meaning. */

import { quantile } from '../util/statistics.ts';

/**
 * `mean-std` and `min-max` follow the batches by an exponential moving average; `running` has the exact mean and std of
 * all values so far; `z-score` and `robust` (median and interquartile range) know the batch alone; `none` only clips.
 */
export type NormaliserName = 'none' | 'mean-std' | 'min-max' | 'z-score' | 'robust' | 'running';

export interface NormaliserOptions {
  readonly name: NormaliserName;
  /** Values end within [-clip, clip]; what `min-max` scales to; null for no bound (`min-max` then takes 1). */
  readonly clip: number | null;
  /** Weight of the past in the moving averages; default 0.99. */
  readonly momentum?: number;
}

/** What a normaliser keeps between batches, as JSON: (mean, std), (min, max), or (count, mean, squares). */
export type NormaliserState = readonly number[];

const epsilon = 1e-8;

/** The values of a batch normalised, and the state for the next; an empty batch changes nothing. */
export function normalise(
  values: readonly number[],
  state: NormaliserState | null,
  options: NormaliserOptions,
): { readonly values: number[]; readonly state: NormaliserState | null } {
  if (values.length === 0) return { values: [], state };
  const { clip } = options;
  const found = methods[options.name](values, state, options);
  const bounded = clip === null ? found.values : found.values.map((x) => Math.min(clip, Math.max(-clip, x)));
  return { values: bounded, state: found.state };
}

type Method = typeof normalise;

const methods: { readonly [N in NormaliserName]: Method } = {
  none: (values) => ({ values: [...values], state: null }),
  'mean-std': (values, state, options) => {
    const moved = averaged(state, meanAndStd(values), options);
    return { values: centred(values, moved[0]!, moved[1]!), state: moved };
  },
  'min-max': (values, state, options) => {
    const low = values.reduce((least, x) => Math.min(least, x), Number.POSITIVE_INFINITY);
    const high = values.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
    const moved = averaged(state, [low, high], options);
    const [from, width] = [moved[0]!, moved[1]! - moved[0]! + epsilon];
    const bound = options.clip ?? 1;
    return { values: values.map((x) => ((x - from) / width) * 2 * bound - bound), state: moved };
  },
  'z-score': (values) => {
    const [mean, std] = meanAndStd(values);
    return { values: centred(values, mean, std), state: null };
  },
  robust: (values) => {
    const width = quantile(values, 0.75) - quantile(values, 0.25);
    // Where half of the values are the same there is no scale to bring the others to.
    if (width < epsilon) return { values: values.map(() => 0), state: null };
    return { values: centred(values, quantile(values, 0.5), width), state: null };
  },
  running: (values, state) => {
    const moved = pooled(state, values);
    return { values: centred(values, moved[1]!, Math.sqrt(moved[2]! / moved[0]!)), state: moved };
  },
};

function centred(values: readonly number[], centre: number, width: number): number[] {
  return values.map((x) => (x - centre) / (width + epsilon));
}

/** The first batch is taken as it is. */
function averaged(
  state: NormaliserState | null,
  batch: readonly number[],
  { momentum = 0.99 }: NormaliserOptions,
): number[] {
  if (state === null) return [...batch];
  return batch.map((value, i) => momentum * state[i]! + (1 - momentum) * value);
}

/** Mean and population std. */
function meanAndStd(values: readonly number[]): [number, number] {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / values.length)];
}

/** Count, mean and summed squared deviations of all values so far (Chan et al. 1983). */
function pooled(state: NormaliserState | null, values: readonly number[]): number[] {
  const [mean, std] = meanAndStd(values);
  const [count, before, squares] = [state?.[0] ?? 0, state?.[1] ?? 0, state?.[2] ?? 0];
  const total = count + values.length;
  const step = mean - before;
  return [
    total,
    before + (step * values.length) / total,
    squares + std * std * values.length + (step * step * count * values.length) / total,
  ];
}
