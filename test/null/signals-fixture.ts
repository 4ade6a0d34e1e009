/** Owns a process that is deaf for a while, as in a long step: it watches signals, blocks, and says what it was asked. */

import { watchSignals } from '../../src/run/signals.ts';

const BLOCK_MS = 900;
const watch = watchSignals(() => {
  process.stdout.write('asked\n');
  setTimeout(block, 1);
});
setInterval(() => undefined, 1000);
process.stdout.write('ready\n');

function block(): void {
  process.stdout.write('deaf\n');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCK_MS);
  setTimeout(() => process.stdout.write(`hears again, stop ${watch.stopRequested()}\n`), 100);
}
