/** Owns the lifetimes of tensors: synchronous scopes that free in one call all that was made inside them. */

import { ReckonError } from '../util/errors.ts';
import { native } from './addon.ts';
import { Tensor } from './tensor.ts';

/**
 * Runs `fn` and frees every tensor made inside it, but those that its return value reaches (through arrays, maps
 * and plain objects) or that were kept. Throws if `fn` returns a promise: a scope never spans an await.
 */
export function scope<T>(fn: () => T): T {
  native.scopeEnter();
  const survivors: number[] = [];
  try {
    const result = fn();
    if (isThenable(result)) {
      throw new ReckonError(
        'tensor',
        'scope-async',
        'a scope is synchronous: its function returned a promise; await first and open the scope afterwards',
      );
    }
    reach(result, survivors);
    return result;
  } finally {
    native.scopeExit(survivors);
  }
}

/** A scope for `using`: frees on leaving the block all that was made since, except what was kept. */
export class Scope implements Disposable {
  private open = true;

  constructor() {
    native.scopeEnter();
  }

  [Symbol.dispose](): void {
    if (!this.open) return;
    this.open = false;
    native.scopeExit([]);
  }
}

/** How many tensors are alive in the process: logged by every run, asserted by tests. */
export function liveTensors(): number {
  return native.liveTensors();
}

function isThenable(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

function reach(value: unknown, handles: number[]): void {
  if (value instanceof Tensor) handles.push(value.handle);
  else if (Array.isArray(value)) for (const item of value) reach(item, handles);
  else if (value instanceof Map) for (const item of value.values()) reach(item, handles);
  else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) reach(item, handles);
  }
}
