/** Memory of tensors on the CPU is taken again by those that come later, however long the pass was that left it. */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const script = fileURLToPath(new URL('host-memory.ts', import.meta.url));

it.skipIf(!existsSync('/proc/self/status'))('training passes take little more than what they keep', () => {
  const text = execFileSync(process.execPath, ['--import', 'tsx', script], { encoding: 'utf8' });
  const { kept, after } = JSON.parse(text) as { kept: number; after: number[] };
  for (const bytes of after) expect(bytes).toBeLessThan(1.5 * kept);
});
