/** Owns how work on servers is ended: by a time, from outside, or by a failure beside it. Sends nothing. */

import { setMaxListeners } from 'node:events';
import type { ReckonError } from '../../util/errors.ts';
import { timerMs } from '../../util/timer.ts';

/** An abort that ends work without being an error. */
export const stopped: unique symbol = Symbol('stopped');

/** A signal that aborts after a time, from outside, or by `end`; `close` frees its timer. */
export function deadline(
  seconds: number,
  outer: AbortSignal | undefined,
  late: () => ReckonError,
): { readonly signal: AbortSignal; readonly end: (reason: unknown) => void; readonly close: () => void } {
  const controller = new AbortController();
  // Every request under way listens.
  setMaxListeners(0, controller.signal);
  const end = (reason: unknown) => controller.abort(reason);
  const timer = setTimeout(() => end(late()), timerMs(1000 * seconds));
  const stop = () => end(stopped);
  if (outer?.aborted) stop();
  outer?.addEventListener('abort', stop, { once: true });
  const close = () => {
    clearTimeout(timer);
    outer?.removeEventListener('abort', stop);
  };
  return { signal: controller.signal, end, close };
}
