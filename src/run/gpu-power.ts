/** Owns the energy of an NVIDIA GPU: the power that nvidia-smi shows twice a second, over time. Knows no run. */

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { EnergyMeter } from './powercap.ts';

const EVERY_MS = 500;

/**
 * A meter of the GPU that libtorch calls `cuda:<index>`. Its energy is not known where nvidia-smi is missing, ends, or shows no
 * power. Readings carry their own times, since a long step lets many wait.
 */
export function gpuMeter(device: string, command = 'nvidia-smi'): EnergyMeter {
  const child = spawn(
    command,
    [
      '-i',
      idOf(device),
      '--query-gpu=timestamp,power.draw',
      '--format=csv,noheader,nounits',
      '-lms',
      String(EVERY_MS),
    ],
    // A group of its own: Ctrl-C is for the run.
    { stdio: ['ignore', 'pipe', 'ignore'], detached: true },
  );
  let joules = 0;
  let last: { readonly seconds: number; readonly watts: number } | null = null;
  let known = true;
  const lose = (): void => {
    known = false;
  };
  child.on('error', lose).on('close', lose);
  child.unref();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [time = '', power = ''] = line.split(',');
    const now = { seconds: Date.parse(time) / 1000, watts: Number.parseFloat(power) };
    if (!Number.isFinite(now.seconds + now.watts)) return lose();
    // Between two readings the power went from the one to the other.
    if (last !== null) joules += ((last.watts + now.watts) / 2) * Math.max(0, now.seconds - last.seconds);
    last = now;
  });
  return {
    name: 'GPU',
    joules: () => (known ? joules : null),
    close: () => void child.kill(),
  };
}

/** nvidia-smi counts all GPUs, libtorch those that CUDA_VISIBLE_DEVICES lets it see. */
function idOf(device: string): string {
  const index = Number(device.split(':')[1] ?? 0);
  return process.env['CUDA_VISIBLE_DEVICES']?.split(',')[index]?.trim() || String(index);
}
