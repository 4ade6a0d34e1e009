/** Owns how long is waited before a request is tried again. Knows no server. */

import type { Rng } from '../../util/rng.ts';
import { timerMs } from '../../util/timer.ts';

const longestMs = 30_000;

/**
 * The wait before try number `attempt` + 1: twice as long each time, half of it by chance, so that requests which failed
 * together do not come back together.
 */
export function backoffMs(attempt: number, firstMs: number, rng: Rng): number {
  const whole = Math.min(longestMs, firstMs * 2 ** (attempt - 1));
  return whole * (0.5 + 0.5 * rng.uniform());
}

/** Waits; throws the signal's reason as soon as it aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, timerMs(ms));
    signal.addEventListener('abort', stop, { once: true });
  });
}
