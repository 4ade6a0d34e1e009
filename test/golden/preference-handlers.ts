/** Owns the golden cases of preference. */

import type { Handlers } from './case.ts';

export const preferenceHandlers: Handlers = {};
