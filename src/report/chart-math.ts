/** Owns the numbers behind a chart: ticks, ranges, smoothing, thinning. Draws nothing. */

/** A point of a series; `low` and `high` are its interval where it has one. */
export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

/** Smallest and largest value of an axis. */
export type Range = readonly [low: number, high: number];

/** The range of the finite numbers, widened where they are all one; [0, 1] where there are none. */
export function rangeOf(values: Iterable<number>): Range {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (low < high) return [low, high];
  const room = low === 0 ? 1 : Math.abs(low) * 0.1;
  return [low - room, high + room];
}

/** Round numbers (1, 2 or 5 times a power of ten apart) inside a range, about `count` of them, ends included where round. */
export function niceTicks(range: Range, count = 5, smallestStep = 0): number[] {
  const step = niceStep(range, count, smallestStep);
  const first = Math.ceil(range[0] / step - 1e-9);
  const last = Math.floor(range[1] / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => clean((first + i) * step));
}

/** The range widened to round numbers, so that the first and last tick are its ends. */
export function niceRange(range: Range, count = 5): Range {
  const step = niceStep(range, count, 0);
  return [clean(Math.floor(range[0] / step + 1e-9) * step), clean(Math.ceil(range[1] / step - 1e-9) * step)];
}

function niceStep(range: Range, count: number, smallest: number): number {
  const rough = Math.max((range[1] - range[0]) / count, smallest, Number.MIN_VALUE * 1e10);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = rough / power;
  const nice = factor <= 1.0001 ? 1 : factor <= 2.0001 ? 2 : factor <= 5.0001 ? 5 : 10;
  return Math.max(nice * power, smallest);
}

function clean(value: number): number {
  return Number(value.toPrecision(12)) + 0;
}

/** Fewest points that are worth a smoothed line. */
const SMOOTH_FROM = 20;
/** A smoothed line of a long series has about so many points: it bends far too slowly to need more. */
const SMOOTH_POINTS = 1200;

/**
 * A centred Gaussian moving average (a twenty-fifth of the series is one standard deviation) of the finite points: it
 * does not lag behind the points as a running average does, and at both ends, where one side is missing, it follows their
 * slope (a local linear fit). At every point, or of a long series at about 1,200 and the last; empty below 20 points.
 */
export function smoothed(points: readonly ChartPoint[]): ChartPoint[] {
  const finite = points.filter((point) => Number.isFinite(point.y));
  if (finite.length < SMOOTH_FROM) return [];
  const sigma = Math.max(1, finite.length / 25);
  const reach = Math.ceil(3 * sigma);
  const weights = Array.from({ length: reach + 1 }, (_, d) => Math.exp(-0.5 * (d / sigma) ** 2));
  const stride = Math.ceil(finite.length / SMOOTH_POINTS);
  return finite.flatMap((point, i) => {
    if (i % stride !== 0 && i !== finite.length - 1) return [];
    // Sums of w d^k and of w d^k y over distances d.
    let [s0, s1, s2, t0, t1] = [0, 0, 0, 0, 0];
    for (let j = Math.max(0, i - reach); j <= Math.min(finite.length - 1, i + reach); j++) {
      const w = weights[Math.abs(i - j)] ?? 0;
      const [d, y] = [j - i, finite[j]?.y ?? 0];
      s0 += w;
      s1 += w * d;
      s2 += w * d * d;
      t0 += w * y;
      t1 += w * d * y;
    }
    return [{ x: point.x, y: (s2 * t0 - s1 * t1) / (s0 * s2 - s1 * s1) }];
  });
}

/** At most about `limit` points: of each stretch its lowest and its highest, so that spikes stay. */
export function thinned(points: readonly ChartPoint[], limit = 1200): readonly ChartPoint[] {
  if (points.length <= limit) return points;
  const stretch = Math.ceil((2 * points.length) / limit);
  const kept: ChartPoint[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch).map((point, order) => ({ point, order }));
    const finite = part.filter(({ point }) => Number.isFinite(point.y)).sort((a, b) => a.point.y - b.point.y);
    const ends = finite.length < part.length ? part.slice(0, 1) : [];
    const chosen = new Set([...ends, ...finite.slice(0, 1), ...finite.slice(-1)]);
    kept.push(...[...chosen].sort((a, b) => a.order - b.order).map(({ point }) => point));
  }
  return kept;
}
