/** Owns the golden cases of tokenizer. */

import type { Handlers } from './case.ts';

export const tokenizerHandlers: Handlers = {};
