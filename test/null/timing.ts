/** Owns times that other work on the machine does not spoil: processor time, and limits stretched by how busy it is. */

import { spawnSync } from 'node:child_process';

/** Processor time in milliseconds that this process took for some work, waited for or not. */
export async function processorMs(work: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/**
 * Wall time of some work in milliseconds. Beyond the limit the work is done again, up to twice, and the least time
 * counts: a pause of the machine comes once, what is slow is slow each time.
 */
export async function leastMs(limitMs: number, work: () => unknown): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 3 && least >= limitMs; tries++) {
    const start = performance.now();
    await work();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** What starting Node and doing nothing takes on an idle machine. */
const idleStartMs = 50;

/** How many times longer Node takes to start now than on an idle machine; 1 at least. */
export function busyness(): number {
  const start = performance.now();
  spawnSync(process.execPath, ['-e', '']);
  return Math.max(1, (performance.now() - start) / idleStartMs);
}
