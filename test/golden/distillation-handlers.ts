/** Owns the golden cases of distillation. */

import type { Handlers } from './case.ts';

export const distillationHandlers: Handlers = {};
