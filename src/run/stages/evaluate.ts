/** Owns the `evaluate` stage: measures the current model and writes evaluations/<label>.json and its rows. */

import { mkdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { measure, rowsOf, summariseRows, writeEvaluation } from '../../evaluate/index.ts';
import { loadModel } from '../../models/index.ts';
import { loadTokenizer } from '../../text/index.ts';
import { computeWith } from '../../train/compute.ts';
import type { StageOutcome } from '../../train/context.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { formatPercent } from '../../util/format.ts';
import type { RunStageContext } from '../stages.ts';
import { parentOf, taskOf } from './task.ts';

/** Samples and judges completions of held-out problems. */
export async function evaluate(context: RunStageContext<'evaluate'>): Promise<StageOutcome> {
  const { recipe, stage, runDirectory } = context;
  const started = performance.now();
  const folder = parentOf(context);
  const task = taskOf(recipe);
  const { split, samplesPerProblem, temperature } = recipe.evaluation;
  const { dtype, device } = context.compute;
  computeWith(context.compute);
  using model = loadModel(folder, { dtype: 'f32', computeDtype: dtype, device });
  const tokenizer = loadTokenizer(folder);
  const groups = await measure(model, tokenizer, task, task.splits[split], {
    samplesPerProblem,
    temperature,
    topP: 1,
    maxCompletionTokens: recipe.sampling.maxCompletionTokens,
    seed: context.seed,
    stopRequested: context.stopRequested,
  });
  if (context.stopRequested()) return 'stopped';
  const promptText = (ids: readonly number[]): string => tokenizer.decodeAll(ids);
  const rows = groups.flatMap((group) => rowsOf(group, { promptText }));
  const rowsFile = `${stage.label}.rows.jsonl`;
  const evaluation = summariseRows(
    {
      label: stage.label,
      checkpoint: relative(runDirectory, folder).split(sep).join('/'),
      task: task.name,
      split,
      seed: context.seed,
      temperature,
      seconds: (performance.now() - started) / 1000,
      rows: rowsFile,
    },
    rows,
  );
  mkdirSync(join(runDirectory, 'evaluations'), { recursive: true });
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  writeFileAtomic(join(runDirectory, 'evaluations', rowsFile), lines);
  writeEvaluation(evaluationPath(runDirectory, stage.label), evaluation);
  context.log(
    `${context.name}: pass@1 ${formatPercent(evaluation.passAt1.mean)}, format ${formatPercent(evaluation.format.mean)} on ${evaluation.n} ${split} problems`,
  );
  return 'done';
}

/** Where an evaluation of a run lies. */
export function evaluationPath(runDirectory: string, label: string): string {
  return join(runDirectory, 'evaluations', `${label}.json`);
}
