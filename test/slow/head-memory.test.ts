/** Owns the bound on memory of log-probabilities under a real vocabulary: a tenth of the logits and their gradient. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'reckon-head-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const script = `import { readFileSync } from 'node:fs';
const { backwardThroughLogps } = await import(${JSON.stringify(`${source}losses/index.ts`)});
const { backward, full, ids, scope } = await import(${JSON.stringify(`${source}torch/index.ts`)});
const [tokens, vocabulary, width] = [2048, 151936, 896];
const hidden = full([tokens, width], 0.01).requiresGrad_();
const head = full([vocabulary, width], 0.02);
if (process.argv[2] === 'trained') {
  head.requiresGrad_();
  scope(() => backward(head.sum()));
}
const targets = ids(Array.from({ length: tokens }, (_, i) => i));
const status = (key) => Number(new RegExp(key + ':\\\\s+(\\\\d+)').exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const before = status('VmRSS');
const weigh = ({ logps_N, entropies_N }) => logps_N.mean().neg().add(entropies_N.mean().mul(-0.01));
backwardThroughLogps(hidden, head, targets, { temperature: 0.9 }, weigh);
console.log(Math.max(0, status('VmHWM') - before));
`;

it.skipIf(!existsSync('/proc/self/status')).each(['trained', 'frozen'])(
  '2,048 tokens of 151,936 words under a %s head take less than a tenth of their logits and gradient',
  (head) => {
    const path = join(folder, 'measure.mts');
    writeFileSync(path, script);
    const run = spawnSync(process.execPath, ['--import', 'tsx', path, head], { encoding: 'utf8' });
    expect(run.stderr).toBe('');
    const taken = Number(run.stdout);
    const whole = (2 * 2048 * 151_936 * 4) / 2 ** 20;
    console.log(`${head} head: ${taken.toFixed(0)} of ${whole.toFixed(0)} MiB`);
    expect(taken).toBeGreaterThan(64);
    expect(taken).toBeLessThan(whole / 10);
  },
);
