/** Owns `reckon doctor`: gathers facts about machine and set-up, and says what is wrong and what to do. Mends nothing. */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { freemem, homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import {
  automaticThreads,
  describeCpu,
  diskFree,
  hasNvidiaDriver,
  readTorchBuild,
  reckonVersion,
  type TorchBuild,
} from '../run/index.ts';
import { messageOf } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';
import { PACKAGE_ROOT } from '../util/place.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

const SET_UP = 'run `reckon setup`';

/** One thing that is wrong, and what to do about it. */
export interface Complaint {
  readonly problem: string;
  readonly remedy: string;
}

/** Facts by name, in the order in which they are printed. */
export type Facts = Readonly<Record<string, string>>;

/** Adds the command; `finish` takes its exit code. */
export function addDoctorCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('doctor')
    .description('print versions, paths, devices and threads, and what is wrong')
    .addHelpText('after', '\nExample:\n  reckon doctor --json')
    .action(async (_options, command: Command) => {
      const { facts, complaints } = await examine();
      const value = { ok: complaints.length === 0, facts, problems: complaints };
      printResult(command.optsWithGlobals<GlobalOptions>(), value, format(facts, complaints));
      finish(complaints.length === 0 ? 0 : 1);
    });
}

async function examine(): Promise<{ facts: Facts; complaints: Complaint[] }> {
  const runtime = await runtimeFacts();
  const facts = { ...versionFacts(), ...machineFacts(), ...runtime.facts, ...pathFacts() };
  const build = buildComplaints();
  const consequences = build.length === 0 ? runtime.complaints : [];
  return { facts, complaints: [...systemComplaints(), ...build, ...consequences] };
}

function versionFacts(): Facts {
  const build = readTorchBuild();
  const found = build === null ? 'not set up' : `${build.version}, from ${build.source}`;
  return {
    reckon: reckonVersion(),
    node: process.version,
    npm: firstLine('npm', ['--version']),
    libtorch: build?.reason === undefined ? found : `${found} (${build.reason})`,
    'libtorch ABI': build?.cxx11Abi === undefined ? 'unknown' : `C++11 ABI ${String(build.cxx11Abi)}`,
    'libtorch CUDA': build === null ? 'unknown' : String(build.cuda ?? false),
    compiler: build?.compiler ?? firstLine('c++', ['--version']),
  };
}

function machineFacts(): Facts {
  const cpu = describeCpu();
  const capabilities = cpu.capabilities.length === 0 ? 'none of note' : cpu.capabilities.join(', ');
  return {
    platform: `${process.platform} ${cpu.arch}`,
    cpu: `${cpu.model}, ${cpu.cores} cores`,
    'cpu capabilities': capabilities,
    memory: `${formatBytes(cpu.memoryBytes)}, ${formatBytes(freemem())} free`,
    threads: String(automaticThreads()),
  };
}

/** What libtorch says of itself, where the addon can be loaded. */
async function runtimeFacts(): Promise<{ facts: Facts; complaints: Complaint[] }> {
  try {
    const torch = await import('../torch/index.ts');
    const runtime = torch.describeRuntime();
    const devices = torch.devices();
    const facts = { 'libtorch kernels': runtime.cpuCapability, devices: devices.join(', ') };
    return { facts, complaints: hasNvidiaDriver() ? gpuComplaints(readTorchBuild(), devices) : [] };
  } catch (error) {
    const [problem = '', ...rest] = messageOf(error).split('\n')[0]!.split('; ');
    const remedy = rest.length === 0 ? SET_UP : rest.join('; ');
    return { facts: { devices: 'unknown' }, complaints: [{ problem, remedy }] };
  }
}

/** What is wrong where NVIDIA's driver runs and `devices` has no GPU. Who set RECKON_TORCH may want the CPU's build. */
export function gpuComplaints(build: TorchBuild | null, devices: readonly string[]): Complaint[] {
  if (build === null || devices.some((device) => device.startsWith('cuda'))) return [];
  if (build.cuda === true) {
    const problem = 'libtorch is built with CUDA and finds no GPU, perhaps because the driver is older';
    const remedy =
      'compare the CUDA version that nvidia-smi names, and choose a build, for example RECKON_TORCH=cu126 reckon setup';
    return [{ problem, remedy }];
  }
  if (build.reason?.includes('RECKON_TORCH=')) return [];
  const problem = 'this machine has an NVIDIA GPU, which this libtorch cannot use';
  return [{ problem, remedy: 'RECKON_TORCH=cu130 reckon setup gets one that can' }];
}

function pathFacts(): Facts {
  const cache = cacheFolder();
  return {
    package: resolve(PACKAGE_ROOT),
    'libtorch folder': readTorchBuild()?.lib ?? 'none',
    cache: existsSync(cache) ? cache : `${cache} (not there yet)`,
    runs: resolve('runs'),
    'disk free': `${formatBytes(diskFree(resolve('.')))} here, ${formatBytes(diskFree(cache))} for the cache`,
  };
}

function systemComplaints(): Complaint[] {
  const found: Complaint[] = [];
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    found.push({ problem: `Node ${process.version} is older than 20.19`, remedy: 'install a newer Node' });
  }
  if (process.platform === 'win32') {
    found.push({
      problem: 'native Windows is not supported',
      remedy: 'use WSL2, with Node installed inside it',
    });
  }
  const threads = process.env['RECKON_THREADS'];
  if (
    threads !== undefined &&
    threads !== '' &&
    !(Number.isInteger(Number(threads)) && Number(threads) >= 1)
  ) {
    const problem = `RECKON_THREADS is ${JSON.stringify(threads)}`;
    found.push({ problem, remedy: 'set it to a whole number of 1 or more, or unset it' });
  }
  const free = diskFree(resolve('.'));
  if (free < 2 ** 30) {
    found.push({ problem: `only ${formatBytes(free)} of disk are free here`, remedy: 'free at least 1 GiB' });
  }
  return found;
}

function buildComplaints(): Complaint[] {
  const build = readTorchBuild();
  const remedy = SET_UP;
  if (build === null) return [{ problem: 'set-up has not finished: build/torch.json is missing', remedy }];
  if (existsSync(build.lib)) return [];
  return [{ problem: `the libtorch that set-up found is gone from ${build.lib}`, remedy }];
}

/** Where set-up keeps libtorch: the same rule as in scripts/setup, which may import nothing from here. */
function cacheFolder(): string {
  const own = process.env['RECKON_CACHE'];
  if (own !== undefined && own !== '') return resolve(own);
  const xdg = process.env['XDG_CACHE_HOME'];
  if (xdg !== undefined && xdg !== '') return join(xdg, 'reckon');
  const parts = process.platform === 'darwin' ? ['Library', 'Caches'] : ['.cache'];
  return join(homedir(), ...parts, 'reckon');
}

function firstLine(command: string, parameters: readonly string[]): string {
  try {
    const text = execFileSync(command, [...parameters], { encoding: 'utf8', stdio: 'pipe', timeout: 10_000 });
    return text.split('\n')[0]!.trim();
  } catch {
    return 'not found';
  }
}

function format(facts: Facts, complaints: readonly Complaint[]): string {
  const width = Math.max(...Object.keys(facts).map((name) => name.length));
  const lines = Object.entries(facts).map(([name, fact]) => `${name.padEnd(width)}  ${fact}`);
  const verdict = complaints.map(({ problem, remedy }) => `wrong: ${problem}; ${remedy}`);
  return [...lines, '', ...(verdict.length === 0 ? ['all is well'] : verdict)].join('\n');
}
