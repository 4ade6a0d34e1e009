/** Owns the golden cases of ppo. */

import type { Handlers } from './case.ts';

export const ppoHandlers: Handlers = {};
