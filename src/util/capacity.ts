/** Owns how much of the machine this process may use, where a container grants less than there is. Measures nothing. */

import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { dirname, join } from 'node:path';

/** Processors that may be used at once: those of the affinity mask, or as many whole ones as a container's quota pays for. */
export function grantedProcessors(root = '/'): number {
  const all = availableParallelism();
  return Math.max(1, Math.min(all, Math.floor(quotaOf(root) ?? all)));
}

/** Bytes of memory: the machine's, or a container's limit. */
export function grantedMemory(limit: number = process.constrainedMemory() ?? 0): number {
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Processors that the control groups above this process pay for (Linux, both versions); null where none sets a bound. */
function quotaOf(root: string): number | null {
  const groups = join(root, 'sys/fs/cgroup');
  const own = /^0::(\/.*)$/m.exec(read(join(root, 'proc/self/cgroup')))?.[1] ?? '/';
  const bounds: number[] = [];
  for (let path = own; ; path = dirname(path)) {
    bounds.push(ratio(read(join(groups, path, 'cpu.max')).split(' ')));
    if (path === '/') break;
  }
  const first = ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) => read(join(groups, 'cpu', name)));
  const known = [...bounds, ratio(first)].filter((bound) => bound > 0);
  return known.length > 0 ? Math.min(...known) : null;
}

/** Quota over period; not above 0 where there is no bound. */
function ratio([quota, period]: readonly string[]): number {
  const share = Number(quota || 'none') / Number(period || 'none');
  return Number.isFinite(share) ? share : 0;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
