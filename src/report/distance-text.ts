/** Owns the table of distances between models. Measures nothing. */

import type { ModelDistance } from '../evaluate/distance.ts';
import { formatCount, formatNumber, formatPercent, formatTable } from '../util/format.ts';

/** Header and rows, a pair of models each. */
export function distanceTable(distances: readonly ModelDistance[]): string[][] {
  const head = ['p', 'q', 'KL(p||q)', 'KL(q||p)', 'JS', 'cosine', 'flat cosine', 'top-1 agreement', 'tokens'];
  const rows = distances.map((each) => [
    each.p,
    each.q,
    ...[each.klPq, each.klQp, each.js, each.cosine, each.flatCosine].map((value) => formatNumber(value, 3)),
    formatPercent(each.top1Agreement),
    formatCount(each.tokens),
  ]);
  return [head, ...rows];
}

/** What the columns mean. */
export const DISTANCE_CAPTION: string =
  'Means over completion tokens of the next-token distributions p and q, in nats where it is an information.';

/** The table as text. */
export function distanceText(distances: readonly ModelDistance[]): string {
  return `${formatTable(distanceTable(distances), ['left', 'left'])}\n\n${DISTANCE_CAPTION}`;
}
