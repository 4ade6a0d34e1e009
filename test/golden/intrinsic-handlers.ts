/** Owns the golden cases of intrinsic. */

import type { Handlers } from './case.ts';

export const intrinsicHandlers: Handlers = {};
