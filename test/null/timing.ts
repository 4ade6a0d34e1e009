/** Owns times that other work on the machine does not spoil: processor time, and limits stretched by how busy it is. */

import { spawnSync } from 'node:child_process';

/** Processor time in milliseconds that this process took for some work, waited for or not. */
export async function processorMs(work: () => unknown): Promise<number> {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/** What starting Node and doing nothing takes on an idle machine. */
const idleStartMs = 50;

/** How many times longer Node takes to start now than on an idle machine; 1 at least. */
export function busyness(): number {
  const start = performance.now();
  spawnSync(process.execPath, ['-e', '']);
  return Math.max(1, (performance.now() - start) / idleStartMs);
}
