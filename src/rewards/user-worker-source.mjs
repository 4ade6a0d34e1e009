/** Owns the start of a user reward's thread in a source tree, where the thread is TypeScript. A build has no use for it. */

import { register } from 'tsx/esm/api';

register();
await import(new URL('./user-worker.ts', import.meta.url).href);
