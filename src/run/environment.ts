/** Owns environment.json: what a run was first started with, and whether this machine may go on. Detects no device. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import type { ResolvedCompute } from '../train/context.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { reckonVersion } from '../util/place.ts';
import { describeCpu, readTorchBuild } from './machine.ts';

/** environment.json, version 1: versions and machine, and the compute choices that a resumed run reuses. */
export interface Environment extends ResolvedCompute {
  readonly version: 1;
  readonly reckon: string;
  readonly node: string;
  readonly libtorch: string;
  readonly platform: string;
  readonly cpu: string;
  readonly capabilities: readonly string[];
  readonly seed: number;
}

const environmentSchema: z.ZodType<Environment> = z.object({
  version: z.literal(1),
  reckon: z.string(),
  node: z.string(),
  libtorch: z.string(),
  platform: z.string(),
  cpu: z.string(),
  capabilities: z.array(z.string()),
  seed: z.int(),
  device: z.string(),
  dtype: z.enum(['f32', 'bf16']),
  threads: z.int().positive(),
  kernels: z.string(),
  gradientCheckpointing: z.boolean().optional(),
});

/** What results depend on beyond the recipe: a difference here may change bits. */
const IDENTITY: readonly (keyof Environment)[] = [
  'reckon',
  'libtorch',
  'platform',
  'cpu',
  'capabilities',
  'device',
];

/** The environment of this process with the compute choices that it would make. */
export function describeEnvironment(compute: ResolvedCompute, seed: number): Environment {
  const cpu = describeCpu();
  return {
    version: 1,
    reckon: reckonVersion(),
    node: process.version,
    libtorch: readTorchBuild()?.version ?? 'unknown',
    platform: `${process.platform} ${cpu.arch}`,
    cpu: cpu.model,
    capabilities: cpu.capabilities,
    seed,
    ...compute,
  };
}

/** What environment.json holds, or null at the first start. */
export function readEnvironment(runDirectory: string): Environment | null {
  const path = join(runDirectory, 'environment.json');
  if (!existsSync(path)) return null;
  try {
    return environmentSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const reason = messageOf(error).split('\n')[0];
    const message = `${path} cannot be read (${reason}); start again with --fresh or another --name`;
    throw new ReckonError('run', 'environment-unreadable', message, { cause: error });
  }
}

/**
 * The environment a run goes on with. At the first start it is the current one, which is written; later it is the
 * saved one, whose device, dtype, threads and kernels are reused. A machine that differs is refused with
 * `run-other-machine`, or logged where `allowInexact`.
 */
export function settleEnvironment(
  runDirectory: string,
  current: Environment,
  options: { readonly allowInexact?: boolean | undefined; log(line: string): void },
): Environment {
  const saved = readEnvironment(runDirectory);
  if (saved === null) {
    writeFileAtomic(join(runDirectory, 'environment.json'), `${JSON.stringify(current, null, 2)}\n`);
    return current;
  }
  const differences = IDENTITY.filter((key) => String(saved[key]) !== String(current[key])).map(
    (key) => `${key} was ${String(saved[key])} and is ${String(current[key])}`,
  );
  if (differences.length === 0) return saved;
  const what = `this run was started on another machine or build (${differences.join('; ')})`;
  if (options.allowInexact !== true) {
    const advice = 'go on with --allow-inexact, or start again with --fresh or another --name';
    throw new ReckonError('run', 'run-other-machine', `${what}, so its result would not be exact; ${advice}`);
  }
  options.log(`${what}; going on because of --allow-inexact`);
  return { ...saved, device: current.device };
}
