/** Owns the golden cases of train. */

import type { Handlers } from './case.ts';

export const trainHandlers: Handlers = {};
