/**
 * Owns our side as a process: reads what to do from the first line of stdin, makes one step for each line after it, and
 * answers with seconds and the most memory it has held. The other side, peer.py, speaks the same.
 */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describeRuntime, kernelLevel, setThreads } from '../src/torch/index.ts';
import { limitSteps } from './our-limits.ts';
import { generationSteps, grpoSteps, sftSteps, writeWeights } from './our-steps.ts';
import type { Question, Step } from './protocol.ts';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const question = JSON.parse((await lines.next()).value) as Question;
setThreads(question.threads);
const step = prepared(question);
say({ ready: true, runtime: { ...describeRuntime(), kernels: kernelLevel() } });
while (step && !(await lines.next()).done) say({ ...(await step()), peakBytes: peakBytes() });
process.exit(0);

function prepared(asked: Question): Step | null {
  const { work } = asked;
  switch (work.kind) {
    case 'weights':
      writeWeights(asked);
      return null;
    case 'generate':
      return generationSteps(work, asked);
    case 'grpo':
      return grpoSteps(work, asked);
    case 'sft':
      return sftSteps(work, asked);
    case 'limits':
      return limitSteps(work);
  }
}

function say(answer: unknown): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** The kernel's high-water mark; where it keeps none, what the process says of itself. */
function peakBytes(): number {
  try {
    const found = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (found) return Number(found[1]) * 1024;
  } catch {
    // No such file but on Linux.
  }
  return process.resourceUsage().maxRSS * 1024;
}
