/** Owns the table of distances between models. Measures nothing. */

import type { Distance } from '../evaluate/distance.ts';
import { formatCount, formatNumber, formatPercent, formatTable } from '../util/format.ts';

/** The rows of the table, and what its columns mean. */
export function distanceText(
  distances: readonly (Distance & { readonly p: string; readonly q: string })[],
): string {
  const head = ['p', 'q', 'KL(p||q)', 'KL(q||p)', 'JS', 'cosine', 'flat cosine', 'top-1 agreement', 'tokens'];
  const rows = distances.map((each) => [
    each.p,
    each.q,
    ...[each.klPq, each.klQp, each.js, each.cosine, each.flatCosine].map((value) => formatNumber(value, 3)),
    formatPercent(each.top1Agreement),
    formatCount(each.tokens),
  ]);
  return `${formatTable([head, ...rows], ['left', 'left'])}\n\nMeans over completion tokens, in nats where it is an information.`;
}
