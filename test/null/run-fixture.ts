/** Owns a run with stages of known behaviour, started as a process of its own by run-directory.test.ts. */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kindOf, parseRecipe, type StageType, stageTypes } from '../../src/recipe/index.ts';
import { executeRun, type RunStageContext, type StageFunctions } from '../../src/run/index.ts';
import type { StageOutcome } from '../../src/train/context.ts';
import { writeFileAtomic } from '../../src/util/files.ts';

export const FIXTURE_RECIPE = `version: 1
name: tiny
task: {name: game24}
model: {init: {}}
stages:
  - type: prepare
  - {type: sft, steps: 5}
  - {type: evaluate, label: sft}
  - type: report
`;

/** Counts to `steps`, one file a step, `delay` milliseconds each: a trainer as far as a run can see. */
async function count(context: RunStageContext<StageType>, delay: number): Promise<StageOutcome> {
  const { steps = 0 } = context.stage as { steps?: number };
  const state = join(context.directory, 'count.txt');
  for (let step = existsSync(state) ? Number(readFileSync(state, 'utf8')) : 0; step < steps; ) {
    if (context.stopRequested()) return 'stopped';
    await sleep(delay);
    step++;
    writeFileAtomic(state, String(step));
    context.stream.write(`step ${step}\n`);
  }
  const output = join(context.directory, 'model');
  mkdirSync(output, { recursive: true });
  context.setOutput(output);
  return 'done';
}

/** Stage functions that take `delay` milliseconds a step. */
export function fixtureFunctions(delay: number): StageFunctions {
  const work = (context: RunStageContext<StageType>) => count(context, delay);
  const training = stageTypes.filter((type) => kindOf(type).trains).map((type) => [type, work]);
  return {
    ...(Object.fromEntries(training) as StageFunctions),
    prepare: async (context) => {
      const output = join(context.directory, 'model');
      mkdirSync(output, { recursive: true });
      context.setOutput(output);
      return 'done';
    },
    evaluate: async (context) => {
      context.log(`evaluating ${context.parent}`);
      mkdirSync(join(context.runDirectory, 'evaluations'), { recursive: true });
      writeFileAtomic(join(context.runDirectory, 'evaluations', `${context.stage.label}.json`), '{}');
      return 'done';
    },
    report: async (context) => {
      writeFileAtomic(join(context.runDirectory, 'report.md'), `${context.elapsedSeconds()}`);
      return 'done';
    },
  };
}

if (process.argv[2] !== undefined) {
  const [runsDirectory, delay] = process.argv.slice(2);
  const compute = { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' } as const;
  try {
    const result = await executeRun(parseRecipe(FIXTURE_RECIPE, 'fixture.yaml'), {
      runsDirectory: runsDirectory!,
      stream: process.stdout,
      load: async () => ({
        stageFunctions: fixtureFunctions(Number(delay)),
        resolveCompute: async () => compute,
      }),
    });
    process.exitCode = result.status === 'done' ? 0 : 130;
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
