/** Owns the wiring of a recipe's stages to trainers, evaluation and report. Computes nothing itself. */

import { mkdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { writeCheckpoint } from '../checkpoints/index.ts';
import { type Evaluation, measure, readEvaluation, summarise, writeEvaluation } from '../evaluate/index.ts';
import { Decoder, initialWeights, loadModel, type ModelConfig, saveModel } from '../models/index.ts';
import type { ModelInit, Recipe, RewardRecipe } from '../recipe/index.ts';
import { makeSummary, terminalReport, writeReport, writeSummary } from '../report/index.ts';
import { game24Task, type Reward, type Task } from '../rewards/index.ts';
import { characterTokenizer, loadTokenizer, type Tokenizer } from '../text/index.ts';
import { devices, scope, setThreads } from '../torch/index.ts';
import type { ResolvedCompute, StageOutcome } from '../train/context.ts';
import { trainGrpo, trainSft } from '../train/index.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatPercent } from '../util/format.ts';
import { appendJsonl } from '../util/jsonl.ts';
import { automaticThreads, describeCpu } from './machine.ts';
import type { RunStageContext, StageFunctions } from './stages.ts';

/** One function a stage type. */
export const stageFunctions: StageFunctions = { prepare, evaluate, sft, grpo, report };

/** Device, dtype, threads and kernels for a recipe on this machine. */
export async function resolveCompute(recipe: Recipe): Promise<ResolvedCompute> {
  const { device, dtype, threads } = recipe.compute;
  const found = devices();
  const wanted = device === 'auto' ? found[0]! : found.find((name) => name.startsWith(device));
  if (wanted === undefined) {
    throw new ReckonError(
      'environment',
      'no-such-device',
      `the recipe asks for the device '${device}', and this libtorch finds only ${found.join(', ')}; set compute.device to auto, or install a CUDA build with RECKON_TORCH=cu130`,
    );
  }
  return {
    device: wanted,
    dtype: dtype === 'auto' ? fasterDtype(wanted) : dtype,
    threads: threads === 'auto' ? automaticThreads() : threads,
    kernels: 'none',
  };
}

/** bf16 where there are instructions for it (measured: about twice as fast as f32, masters stay f32), else f32. */
function fasterDtype(device: string): 'f32' | 'bf16' {
  const { capabilities } = describeCpu();
  const native = capabilities.includes('avx512_bf16') || capabilities.includes('amx_bf16');
  return device.startsWith('cuda') || (device === 'cpu' && native) ? 'bf16' : 'f32';
}

/** Problems as JSONL, the tokenizer, and the model that later stages start from. */
async function prepare(context: RunStageContext<'prepare'>): Promise<StageOutcome> {
  const { recipe, directory, seed } = context;
  const task = taskOf(recipe);
  setThreads(context.compute.threads);
  for (const [split, problems] of Object.entries(task.splits)) {
    mkdirSync(join(directory, 'problems'), { recursive: true });
    const path = join(directory, 'problems', `${split}.jsonl`);
    writeFileAtomic(path, '');
    appendJsonl(path, problems);
  }
  const { train, validation, test } = task.splits;
  context.log(
    `${context.name}: ${task.name}, ${train.length} problems to train on, ${validation.length} for validation, ${test.length} held out`,
  );
  const tokenizer =
    recipe.model.path === undefined ? characterTokenizer(task.alphabet) : loadTokenizer(recipe.model.path);
  using model = initialModel(recipe, tokenizer, seed);
  const { path } = await writeCheckpoint(directory, 0, (folder) => {
    saveModel(model, folder);
    tokenizer.save(folder);
  });
  context.log(
    `${context.name}: a model of ${(model.parameterCount / 1e6).toFixed(2)} M parameters, a vocabulary of ${tokenizer.size}`,
  );
  context.setOutput(path);
  return 'done';
}

async function evaluate(context: RunStageContext<'evaluate'>): Promise<StageOutcome> {
  const { recipe, stage, runDirectory } = context;
  const started = performance.now();
  const folder = parentOf(context);
  const task = taskOf(recipe);
  const { split, samplesPerProblem, temperature } = recipe.evaluation;
  const { dtype, device, threads } = context.compute;
  setThreads(threads);
  using model = loadModel(folder, { dtype: 'f32', computeDtype: dtype, device });
  const groups = await measure(model, loadTokenizer(folder), task, task.splits[split], {
    samplesPerProblem,
    temperature,
    topP: 1,
    maxCompletionTokens: recipe.sampling.maxCompletionTokens,
    seed: context.seed,
    stopRequested: context.stopRequested,
  });
  if (context.stopRequested()) return 'stopped';
  const evaluation = summarise(
    {
      label: stage.label,
      checkpoint: relative(runDirectory, folder).split(sep).join('/'),
      task: task.name,
      split,
      seed: context.seed,
      temperature,
      seconds: (performance.now() - started) / 1000,
    },
    groups,
  );
  mkdirSync(join(runDirectory, 'evaluations'), { recursive: true });
  writeEvaluation(evaluationPath(runDirectory, stage.label), evaluation);
  context.log(
    `${context.name}: pass@1 ${formatPercent(evaluation.passAt1.mean)}, format ${formatPercent(evaluation.format.mean)} on ${evaluation.n} ${split} problems`,
  );
  return 'done';
}

function sft(context: RunStageContext<'sft'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  return trainSft(context, taskOf(recipe), {
    ...stage,
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
  });
}

function grpo(context: RunStageContext<'grpo'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const task = taskOf(recipe);
  return trainGrpo(context, task, {
    ...stage,
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(task, stage.rewards),
  });
}

/** summary.json, report.html, report.md, and the same table in the terminal. */
async function report(context: RunStageContext<'report'>): Promise<StageOutcome> {
  const { recipe, runDirectory, seed } = context;
  const summary = makeSummary(
    { task: recipe.task.name, seed, seconds: context.elapsedSeconds() },
    evaluationsOf(recipe, runDirectory),
  );
  writeSummary(runDirectory, summary);
  const written = writeReport(runDirectory);
  if (!context.quiet) context.log(terminalReport(written.run));
  context.log(`the whole report: ${written.htmlPath}`);
  return 'done';
}

function evaluationsOf(recipe: Recipe, runDirectory: string): Evaluation[] {
  return recipe.stages.flatMap((stage) =>
    stage.type === 'evaluate' ? [readEvaluation(evaluationPath(runDirectory, stage.label))] : [],
  );
}

function evaluationPath(runDirectory: string, label: string): string {
  return join(runDirectory, 'evaluations', `${label}.json`);
}

function taskOf(recipe: Recipe): Task {
  return game24Task(recipe.task.splitSeed);
}

function rewardsOf(task: Task, named: readonly RewardRecipe[]): Reward[] {
  return named.map(({ name, weight }) => ({ name, weight, score: task.rewards[name]! }));
}

function initialModel(recipe: Recipe, tokenizer: Tokenizer, seed: number): Decoder {
  const { path, init } = recipe.model;
  if (path !== undefined) return loadModel(path, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  const config = configOf(init!, tokenizer);
  return scope(() => new Decoder(config, initialWeights(config, seed), 'f32'));
}

function configOf(init: ModelInit, tokenizer: Tokenizer): ModelConfig {
  return {
    ...init,
    modelType: 'qwen2',
    vocabSize: tokenizer.size,
    headDim: init.hiddenSize / init.heads,
    bosTokenId: tokenizer.bosId,
    eosTokenIds: tokenizer.eosId === null ? [] : [tokenizer.eosId],
    padTokenId: tokenizer.padId,
  };
}

function parentOf(context: { readonly name: string; readonly parent: string | null }): string {
  if (context.parent !== null) return context.parent;
  throw new ReckonError(
    'recipe',
    'no-model',
    `${context.name}: no earlier stage left a model; begin with a 'prepare' stage`,
  );
}
