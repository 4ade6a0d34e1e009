/** Owns one evaluation from model folder to files: loads, samples what is not on the disk yet, writes rows and result. */

import { existsSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { modelFingerprint } from '../checkpoints/index.ts';
import type { Problem } from '../data/problem.ts';
import {
  type Evaluation,
  evaluateResumably,
  evaluationPrompt,
  readEvaluation,
  settingsAt,
  summariseRows,
  withDistances,
  workOf,
  writeEvaluation,
} from '../evaluate/index.ts';
import type { WeightFormat } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Recipe } from '../recipe/index.ts';
import { readRun, stabilityOf } from '../report/index.ts';
import type { Task } from '../rewards/index.ts';
import { progressOf } from '../run/evaluation-progress.ts';
import { openTaskOf } from '../run/stages/task.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import type { ProgressStream } from '../track/index.ts';
import { ReckonError } from '../util/errors.ts';
import type { Endpoint } from './endpoint.ts';
import { openEvaluationEngine } from './evaluate-engine.ts';
import type { EvaluationTarget } from './evaluate-targets.ts';

/** What is asked of a model, every default decided. */
export interface EvaluationRequest {
  readonly label: string;
  /** Folder that the files go to. */
  readonly out: string;
  readonly recipe: Recipe;
  readonly split: 'train' | 'validation' | 'test';
  readonly samples: number;
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxCompletionTokens: number;
  /** Problems with longer prompts are left out and counted; null leaves none out. */
  readonly maxPromptTokens: number | null;
  /** Most problems; null takes all. */
  readonly limit: number | null;
  /** Sequences at once. */
  readonly batch: number;
  /** Folder of another tokenizer than the model's; null takes its own. */
  readonly tokenizer: string | null;
  /** Servers that sample in place of the target's model, which then lends its tokenizer and its task. */
  readonly endpoint?: Endpoint | null;
  readonly keepIds: boolean;
  readonly weights?: WeightFormat;
  readonly fresh: boolean;
}

/** Where one evaluation's files lie. */
export interface EvaluationFiles {
  readonly result: string;
  readonly rows: string;
  readonly samples: string;
  readonly settings: string;
}

/** What a command gives beside the request. */
export interface EvaluationHooks {
  readonly stream: ProgressStream;
  readonly quiet: boolean;
  readonly stopRequested: () => boolean;
}

/** Where an evaluation of that label lies in a folder. */
export function evaluationFiles(out: string, label: string): EvaluationFiles {
  return {
    result: join(out, `${label}.json`),
    rows: join(out, `${label}.rows.jsonl`),
    samples: join(out, `.${label}.samples.jsonl`),
    settings: join(out, `.${label}.settings.json`),
  };
}

/** Evaluates a model and writes its files; null where a stop was asked for, and the same command goes on from there. */
export async function evaluateModel(
  target: EvaluationTarget,
  request: EvaluationRequest,
  hooks: EvaluationHooks,
): Promise<Evaluation | null> {
  const files = evaluationFiles(request.out, request.label);
  refuseForeign(files, request);
  const keepIds = keepsIds(files, request);
  const distances = earlierDistances(files, request);
  const task = await openTaskOf(request.recipe);
  const tokenizer = loadTokenizer(request.tokenizer ?? target.folder);
  const { problems, skipped } = choose(task, tokenizer, request);
  mkdirSync(request.out, { recursive: true });
  const { samples, temperature, topP, seed, maxCompletionTokens, split } = request;
  using opened = await openEvaluationEngine(target, request, tokenizer, hooks);
  const { stopRequested } = hooks;
  const options = { samplesPerProblem: samples, temperature, topP, maxCompletionTokens, seed };
  const { rows, finished, seconds } = await evaluateResumably({
    ...workOf(opened.engine, tokenizer, task, { ...options, maxRows: request.batch, keepIds, stopRequested }),
    rowsPath: files.rows,
    samplesPath: files.samples,
    settingsPath: files.settings,
    settings: settingsOf(target, { ...request, keepIds }, opened),
    fresh: request.fresh,
    problems,
    batch: Math.max(1, Math.floor(request.batch / samples)),
    stopRequested,
    onProgress: progressOf(request.label, problems.length, hooks),
  });
  if (!finished) return null;
  const evaluation = summariseRows(
    {
      label: request.label,
      checkpoint: target.checkpoint,
      task: task.name,
      split,
      seed,
      temperature,
      seconds,
      rows: basename(files.rows),
      sampling: {
        topP,
        maxCompletionTokens,
        ...(skipped > 0 ? { skippedPrompts: skipped } : {}),
        ...(request.tokenizer === null ? {} : { tokenizer: request.tokenizer }),
        ...(request.weights === 'int8' ? { weights: request.weights } : {}),
      },
    },
    rows,
    target.runDirectory === null ? null : stabilityOf(readRun(target.runDirectory).stages, target.checkpoint),
  );
  const measured = distances === undefined ? evaluation : withDistances(evaluation, distances);
  writeEvaluation(files.result, measured);
  return measured;
}

/** Distances along the same completions, which an evaluation that is given again does not lose. */
function earlierDistances(
  { result }: EvaluationFiles,
  { fresh }: EvaluationRequest,
): Evaluation['distances'] {
  return fresh || !existsSync(result) ? undefined : readEvaluation(result).distances;
}

/** Rows that were begun with token ids keep them, asked for again or not; those without are refused where ids are needed. */
function keepsIds({ settings, rows }: EvaluationFiles, { keepIds, fresh }: EvaluationRequest): boolean {
  const there = fresh ? undefined : settingsAt(settings)?.['ids'];
  if (!keepIds || there !== false) return keepIds || there === true;
  const message = `${rows} keeps no token ids, which --ids and --against need; --fresh samples it again, another --label keeps both`;
  throw new ReckonError('usage', 'no-token-ids', message);
}

/** A result that another command wrote (a run's own `evaluate` stage, say) is not overwritten. */
function refuseForeign(files: EvaluationFiles, { fresh, label }: EvaluationRequest): void {
  if (fresh || !existsSync(files.result) || existsSync(files.settings)) return;
  const message = `${files.result} is there already, and not from this command; give another --label than ${label}`;
  throw new ReckonError('usage', 'evaluation-exists', message);
}

function choose(
  task: Task,
  tokenizer: Tokenizer,
  { split, limit, maxPromptTokens, seed }: EvaluationRequest,
): { problems: readonly Problem[]; skipped: number } {
  const all = task.splits[split].slice(0, limit ?? undefined);
  const fits = (problem: Problem): boolean =>
    maxPromptTokens === null ||
    encodePrompt(tokenizer, evaluationPrompt(task, problem, seed)).length <= maxPromptTokens;
  const problems = all.filter(fits);
  if (problems.length > 0) return { problems, skipped: all.length - problems.length };
  const why =
    all.length === 0 ? 'the split is empty' : `all ${all.length} prompts are longer than --max-prompt`;
  throw new ReckonError(
    'usage',
    'nothing-to-evaluate',
    `no problem of ${task.name}'s ${split} split is left: ${why}`,
  );
}

function settingsOf(
  target: EvaluationTarget,
  request: EvaluationRequest,
  compute: { readonly device: string; readonly dtype: string },
): Record<string, string | number | boolean | null> {
  const { split, samples, temperature, topP, seed, maxCompletionTokens, maxPromptTokens, limit, batch } =
    request;
  return {
    model: request.endpoint ? `${request.endpoint.model} on servers` : modelFingerprint(target.folder),
    task: JSON.stringify(request.recipe.task),
    split,
    samples,
    temperature,
    topP,
    seed,
    maxCompletionTokens,
    maxPromptTokens,
    limit,
    batch,
    tokenizer: request.tokenizer,
    ids: request.keepIds,
    device: compute.device,
    dtype: compute.dtype,
    ...(request.weights === 'int8' ? { weights: 'int8' } : {}),
  };
}
