/** Owns the golden cases of lora. */

import type { Handlers } from './case.ts';

export const loraHandlers: Handlers = {};
