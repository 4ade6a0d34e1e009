/** Owns how many threads a run computes with where that is left to the machine: by measurement. Sets none for good. */

import { noGrad, product, scope, setThreads, threads, zeros } from '../torch/index.ts';
import { quantile } from '../util/statistics.ts';
import { automaticThreads } from './machine.ts';

/** A smaller count must be this much faster: the order of sums in the library depends on the count, and chance must not choose. */
const worthwhile = 0.9;

/**
 * All processors, or half or a quarter of them where products are clearly faster so: processors that share a core get in
 * each other's way. Below four there is nothing to measure, and RECKON_THREADS is taken as it is.
 */
export function measuredThreads(
  most: number = automaticThreads(),
  secondsWith: (counts: readonly number[]) => readonly number[] = timeProducts,
): number {
  if (process.env['RECKON_THREADS'] || most < 4) return most;
  const counts = [most, most >> 1, most >> 2].filter((count) => count >= 2);
  const seconds = secondsWith(counts);
  let best = 0;
  counts.forEach((_, i) => {
    if (seconds[i]! < worthwhile * seconds[best]!) best = i;
  });
  return counts[best]!;
}

/** The median time of products as a decoding step has them, and as a training step has them, with each count in turn. */
function timeProducts(counts: readonly number[]): number[] {
  const before = threads();
  const times = counts.map((): number[] => []);
  try {
    noGrad(() =>
      scope(() => {
        const weight = zeros([1024, 1024]);
        const inputs = [zeros([16, 1024]), zeros([512, 1024])];
        for (let round = 0; round < 6; round++) {
          counts.forEach((count, i) => {
            setThreads(count);
            const started = performance.now();
            scope(() => {
              for (const x of inputs) product(x, weight);
            });
            // The first round wakes threads.
            if (round > 0) times[i]!.push(performance.now() - started);
          });
        }
      }),
    );
  } finally {
    setThreads(before);
  }
  return times.map((own) => quantile(own, 0.5) / 1000);
}
