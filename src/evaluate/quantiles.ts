/** Owns quantiles of the normal and of Student's distribution. Knows nothing of what is estimated with them. */

/** P(X <= x) of a standard normal, by Marsaglia's series (2004); exact to double precision for |x| < 7. */
function normalCdf(x: number): number {
  if (Math.abs(x) > 7) return x > 0 ? 1 : 0;
  let term = x;
  let sum = x;
  for (let i = 3; Math.abs(term) > 1e-17 * Math.abs(sum); i += 2) {
    term *= (x * x) / i;
    sum += term;
  }
  return 0.5 + (sum * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}

/** P(X <= t) of Student's distribution with whole degrees of freedom (the finite sums of Abramowitz and Stegun 26.7). */
function studentCdf(t: number, freedom: number): number {
  const angle = Math.atan(t / Math.sqrt(freedom));
  const cosine = Math.cos(angle);
  const odd = freedom % 2 === 1;
  let term = odd ? cosine : 1;
  let sum = freedom === 1 ? 0 : term;
  for (let i = odd ? 2 : 1; i <= freedom - 3; i += 2) {
    term *= (i / (i + 1)) * cosine * cosine;
    sum += term;
  }
  const centre = odd
    ? (2 / Math.PI) * (angle + Math.sin(angle) * (freedom === 1 ? 0 : sum))
    : Math.sin(angle) * sum;
  return (1 + centre) / 2;
}

/** The x with P(X <= x) = p, 0 < p < 1. */
export function normalQuantile(p: number): number {
  return invert(normalCdf, p, 7);
}

/** The t with P(X <= t) = p, 0 < p < 1; beyond 200 degrees of freedom the normal's, which is 0.7 % smaller at most. */
export function studentQuantile(p: number, freedom: number): number {
  return freedom > 200 ? normalQuantile(p) : invert((t) => studentCdf(t, freedom), p, 1e6);
}

function invert(cdf: (x: number) => number, p: number, bound: number): number {
  let [low, high] = [-bound, bound];
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
