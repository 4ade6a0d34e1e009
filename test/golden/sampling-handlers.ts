/** Owns the golden cases of sampling. */

import type { Handlers } from './case.ts';

export const samplingHandlers: Handlers = {};
