/** Owns facts about this machine and this build that need no libtorch: CPU, memory, versions. Decides nothing. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { grantedMemory, grantedProcessors } from '../util/capacity.ts';
import { PACKAGE_ROOT } from '../util/place.ts';

/** What set-up found and wrote to build/torch.json; unknown keys are kept out. */
export interface TorchBuild {
  readonly version: string;
  readonly source: string;
  readonly reason?: string | undefined;
  readonly lib: string;
  readonly include?: string | undefined;
  readonly cxx11Abi?: boolean | number | string | undefined;
  readonly cuda?: string | boolean | null | undefined;
  readonly compiler?: string | undefined;
}

/** What the processor is and which of the instruction sets that matter to libtorch it has. */
export interface Cpu {
  readonly model: string;
  readonly arch: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly capabilities: readonly string[];
}

const torchBuildSchema: z.ZodType<TorchBuild> = z.object({
  version: z.string(),
  source: z.string(),
  reason: z.string().optional(),
  lib: z.string(),
  include: z.string().optional(),
  cxx11Abi: z.union([z.boolean(), z.number(), z.string()]).optional(),
  cuda: z.union([z.string(), z.boolean(), z.null()]).optional(),
  compiler: z.string().optional(),
});

/** What set-up wrote to `build/torch.json`, or null where set-up has not run or the file is damaged. */
export function readTorchBuild(root: string = PACKAGE_ROOT): TorchBuild | null {
  const path = join(root, 'build', 'torch.json');
  if (!existsSync(path)) return null;
  try {
    return torchBuildSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return null;
  }
}

/** Where NVIDIA's driver shows on Linux, the last one in WSL2; scripts/setup/torch.mjs looks there too. */
const NVIDIA_DRIVER = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/usr/lib/wsl/lib/nvidia-smi'];

/** Whether NVIDIA's driver runs on this machine, whatever libtorch can do with it. */
export function hasNvidiaDriver(): boolean {
  return NVIDIA_DRIVER.some((path) => existsSync(path));
}

/** The processor of this machine. */
export function describeCpu(): Cpu {
  return {
    model: cpus()[0]?.model.trim() ?? 'unknown',
    arch: arch(),
    cores: grantedProcessors(),
    memoryBytes: grantedMemory(),
    capabilities: cpuCapabilities(),
  };
}

/** Threads at most where that is left to the machine: RECKON_THREADS where it is set, else one for each processor granted. */
export function automaticThreads(): number {
  const wanted = Number(process.env['RECKON_THREADS']);
  return Number.isInteger(wanted) && wanted >= 1 ? wanted : grantedProcessors();
}

/** This machine as far as estimates go. */
export function thisMachine(): { threads: number; bf16: boolean; memoryBytes: number } {
  const cpu = describeCpu();
  return { threads: automaticThreads(), bf16: isFasterInBf16(cpu), memoryBytes: cpu.memoryBytes };
}

/** bf16 was measured faster than f32 by the instructions of x86 alone, so nothing is computed in it elsewhere by itself. */
export function isFasterInBf16({ capabilities }: Pick<Cpu, 'capabilities'>): boolean {
  return capabilities.includes('avx512_bf16') || capabilities.includes('amx_bf16');
}

const INTERESTING = [
  'avx2',
  'avx512f',
  'avx512_bf16',
  'amx_tile',
  'amx_bf16',
  'asimd',
  'bf16',
  'sve',
  'i8mm',
];

function cpuCapabilities(): string[] {
  try {
    if (process.platform === 'darwin') return capabilitiesFromSysctl();
    const lines = readFileSync('/proc/cpuinfo', 'utf8').split('\n');
    const flags = lines.find((line) => line.startsWith('flags') || line.startsWith('Features')) ?? '';
    const present = new Set(flags.slice(flags.indexOf(':') + 1).split(' '));
    return INTERESTING.filter((flag) => present.has(flag));
  } catch {
    return [];
  }
}

function capabilitiesFromSysctl(): string[] {
  const text = execFileSync('sysctl', ['-a'], { encoding: 'utf8', maxBuffer: 1 << 24 }).toLowerCase();
  const present = new Map([
    ['asimd', 'hw.optional.neon: 1'],
    ['bf16', 'hw.optional.arm.feat_bf16: 1'],
    ['i8mm', 'hw.optional.arm.feat_i8mm: 1'],
    ['avx2', 'hw.optional.avx2_0: 1'],
    ['avx512f', 'hw.optional.avx512f: 1'],
  ]);
  return [...present].filter(([, line]) => text.includes(line)).map(([name]) => name);
}
