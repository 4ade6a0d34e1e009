/** Owns the golden cases of sft. */

import type { Handlers } from './case.ts';

export const sftHandlers: Handlers = {};
