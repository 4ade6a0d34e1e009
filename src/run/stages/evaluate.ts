/** Owns the `evaluate` stage: measures the current model and writes evaluations/<label>.json and its rows. */

import { mkdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { modelFingerprint } from '../../checkpoints/index.ts';
import {
  evaluateResumably,
  evaluationPrompt,
  summariseRows,
  workOf,
  writeEvaluation,
} from '../../evaluate/index.ts';
import { readConfig } from '../../models/index.ts';
import { encodePrompt } from '../../prompts/index.ts';
import { readRun, stabilityOf } from '../../report/index.ts';
import { loadTokenizer } from '../../text/index.ts';
import { computeWith } from '../../train/compute.ts';
import { parentOf, type StageOutcome } from '../../train/context.ts';
import { formatPercent } from '../../util/format.ts';
import { progressOf } from '../evaluation-progress.ts';
import type { RunStageContext } from '../stages.ts';
import { withEngine } from './engine.ts';
import { requireEvaluationRoom } from './evaluation-room.ts';
import { problemsOf, taskOf } from './task.ts';

/** Samples and judges completions of held-out problems. */
export async function evaluate(context: RunStageContext<'evaluate'>): Promise<StageOutcome> {
  const { recipe, stage, runDirectory } = context;
  const folder = parentOf(context);
  const task = taskOf(recipe);
  const { split, samplesPerProblem, temperature } = recipe.evaluation;
  const { dtype, device } = context.compute;
  computeWith(context.compute);
  const tokenizer = loadTokenizer(folder);
  requireEvaluationRoom(context, context.name, { tokenizer, maxPositions: readConfig(folder).maxPositions });
  const rowsFile = `${stage.label}.rows.jsonl`;
  const maxCompletionTokens = recipe.sampling.maxCompletionTokens;
  const options = { samplesPerProblem, temperature, topP: 1, maxCompletionTokens, seed: context.seed };
  const problems = problemsOf(task, split);
  mkdirSync(join(runDirectory, 'evaluations'), { recursive: true });
  const prompt = () => encodePrompt(tokenizer, evaluationPrompt(task, problems[0]!, context.seed));
  const log = (line: string) => context.log(`${context.name}: ${line}`);
  const measured = { folder, compute: context.compute, tokenizer };
  const { rows, finished, seconds } = await withEngine(
    recipe,
    measured,
    { prompt, temperature, log },
    (engine) =>
      evaluateResumably({
        ...workOf(engine, tokenizer, task, { ...options, stopRequested: context.stopRequested }),
        rowsPath: join(runDirectory, 'evaluations', rowsFile),
        samplesPath: join(context.directory, 'samples.jsonl'),
        settingsPath: join(context.directory, 'progress.json'),
        // The stage's folder goes where another input changes; a model of the same path can be another one.
        settings: { model: modelFingerprint(folder), split, ...options, dtype, device },
        fresh: false,
        others: 'replace',
        problems,
        batch: Math.max(1, problems.length),
        stopRequested: context.stopRequested,
        onProgress: progressOf(context.name, problems.length, context),
      }),
  );
  if (!finished) return 'stopped';
  const checkpoint = relative(runDirectory, folder).split(sep).join('/');
  const evaluation = summariseRows(
    {
      label: stage.label,
      checkpoint,
      task: task.name,
      split,
      seed: context.seed,
      temperature,
      seconds,
      rows: rowsFile,
    },
    rows,
    stabilityOf(readRun(runDirectory).stages, checkpoint),
  );
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
