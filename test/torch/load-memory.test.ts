/** Owns the bound on memory while weights are read: little more than the weights that stay, whatever they become. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../src/models/index.ts';
import { full, scope, type Tensor } from '../../src/torch/index.ts';

const source = fileURLToPath(new URL('../../src/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'reckon-memory-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Reads the file in a process of its own; bytes of its high water mark above its start, over those that stay. */
function peakShare(path: string, dtype: 'f32' | 'bf16', map: boolean): number {
  const script = join(folder, `read-${dtype}.mts`);
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs';
const { readSafetensors } = await import(${JSON.stringify(`${source}models/safetensors.ts`)});
const { zeros } = await import(${JSON.stringify(`${source}torch/index.ts`)});
zeros([1]).dispose();
const status = (key) => 1024 * Number(new RegExp(key + ':\\\\s+(\\\\d+)').exec(readFileSync('/proc/self/status', 'utf8'))[1]);
const before = status('VmRSS');
const read = readSafetensors(${JSON.stringify(path)}, { dtype: ${JSON.stringify(dtype)}, map: ${map} });
let bytes = 0;
for (const value of read.values()) {
  bytes += value.numel * ${dtype === 'f32' ? 4 : 2};
  value.sum().dispose(); // a mapped page is there once it was used
}
console.log((status('VmHWM') - before) / bytes);
`,
  );
  const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return Number(stdout);
}

describe.skipIf(!existsSync('/proc/self/status'))('reading 200 MiB of weights', () => {
  it.each([
    ['f32', 'f32', 'read', 50_000],
    ['f32', 'bf16', 'read', 100_000],
    ['bf16', 'f32', 'read', 50_000],
    ['bf16', 'bf16', 'mapped', 100_000],
  ] as const)(
    '%s to %s, %s, takes at most 1.15 times what stays',
    { timeout: 60_000 },
    (from, to, how, rows) => {
      const path = join(folder, `${from}.safetensors`);
      scope(() => {
        const state = new Map<string, Tensor>([['table', full([rows, 512], 0.5, from)]]);
        for (let i = 0; i < 50; i++) state.set(`layer.${i}`, full([rows / 50, 512], 0.5, from));
        writeSafetensors(path, state);
      });
      const share = peakShare(path, to, how === 'mapped');
      rmSync(path);
      expect(share).toBeGreaterThan(0.95);
      expect(share).toBeLessThan(1.15);
    },
  );
});
