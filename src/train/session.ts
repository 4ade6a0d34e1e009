/**
 * Owns what every trainer does between steps: resume from the newest whole checkpoint, metrics, progress, checkpoints,
 * stopping. Knows no algorithm.
 */

import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  loadOptimizer,
  newestWholeCheckpoint,
  pruneCheckpoints,
  readTrainerState,
  saveTrainer,
  writeCheckpoint,
} from '../checkpoints/index.ts';
import { type Decoder, loadModel } from '../models/index.ts';
import { AdamW, type AdamWOptions } from '../optim/index.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { liveTensors, noGrad, scope, setThreads } from '../torch/index.ts';
import { type MetricRecord, MetricsWriter, Progress } from '../track/index.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter, truncateJsonl } from '../util/jsonl.ts';
import type { StageContext, StageOutcome } from './context.ts';

/** What trainers need of their stage. */
export type TrainContext = Pick<
  StageContext,
  | 'name'
  | 'directory'
  | 'seed'
  | 'compute'
  | 'parent'
  | 'quiet'
  | 'log'
  | 'stream'
  | 'stopRequested'
  | 'setOutput'
>;

export interface SessionOptions extends AdamWOptions {
  readonly trainer: string;
  readonly steps: number;
  readonly checkpoints: { readonly every: number; readonly keepLast: number };
}

/** Means above these say that engine and trainer compute different things, not that they round differently. */
const mismatchBounds = { f32: 1e-4, bf16: 0.05 } as const;

/** A training run's policy, optimizer and files, from where it left off. */
export class Session implements Disposable {
  readonly policy: Decoder;
  readonly tokenizer: Tokenizer;
  readonly optimizer: AdamW;
  /** Steps done before this process began. */
  readonly startStep: number;
  private readonly context: TrainContext;
  private readonly options: SessionOptions;
  private readonly metrics: MetricsWriter;
  private readonly progress: Progress;
  private tokens: number;
  private lastSaved: number;

  constructor(context: TrainContext, options: SessionOptions) {
    const { directory, compute } = context;
    setThreads(compute.threads);
    const { newest, broken } = newestWholeCheckpoint(directory);
    for (const one of broken)
      context.log(`${context.name}: step ${one.step}'s checkpoint is skipped: ${one.reason}`);
    const folder = newest?.path ?? parentOf(context);
    const state = newest && readTrainerState(newest.path);
    this.context = context;
    this.options = options;
    this.policy = loadModel(folder, { dtype: 'f32', computeDtype: compute.dtype, device: compute.device });
    for (const [, parameter] of this.policy.namedParameters()) parameter.requiresGrad_();
    this.tokenizer = loadTokenizer(folder);
    this.optimizer = new AdamW(this.policy.namedParameters(), options);
    if (newest) loadOptimizer(newest.path, this.optimizer);
    this.startStep = state?.step ?? 0;
    this.lastSaved = this.startStep;
    this.tokens = state?.tokens ?? 0;
    if (newest) context.log(`${context.name}: resuming after step ${newest.step} of ${options.steps}`);
    this.metrics = MetricsWriter.open(join(directory, 'metrics.jsonl'), {
      fsync: true,
      ...(newest ? { resumeFromStep: this.startStep } : {}),
    });
    this.progress = new Progress({
      stage: context.name,
      steps: options.steps,
      stream: context.stream,
      startStep: this.startStep,
      quiet: context.quiet,
    });
  }

  /** A per-step JSONL file of the stage for appending, cut back to the step that was resumed from. */
  jsonl(name: string): JsonlWriter {
    const path = join(this.context.directory, name);
    mkdirSync(dirname(path), { recursive: true });
    if (existsSync(path)) truncateJsonl(path, this.startStep);
    return new JsonlWriter(path, { fsync: true });
  }

  /** Puts the weights that the stage began with back into the policy and forgets the optimizer's moments. */
  restart(): void {
    using base = loadModel(parentOf(this.context), {
      dtype: 'f32',
      computeDtype: this.context.compute.dtype,
      device: this.context.compute.device,
    });
    noGrad(() =>
      scope(() => {
        const state = base.stateDict();
        for (const [name, parameter] of this.policy.namedParameters()) parameter.copy_(state.get(name)!);
      }),
    );
    this.optimizer.reset();
  }

  /** Ends a step: metrics, progress, a checkpoint when one is due or a stop was asked for. True when to stop early. */
  async finishStep(
    step: number,
    record: MetricRecord & { readonly 'batch/tokens': number },
  ): Promise<boolean> {
    this.tokens += record['batch/tokens'];
    const full = {
      ...record,
      'memory/live_tensors': liveTensors(),
      'memory/rss_bytes': process.memoryUsage.rss(),
    };
    this.metrics.write(step, full);
    this.progress.update(step, full);
    await new Promise((resolve) => setImmediate(resolve));
    const stop = this.context.stopRequested() && step < this.options.steps;
    if (stop || step === this.options.steps || step % this.options.checkpoints.every === 0)
      await this.save(step);
    return stop;
  }

  /** Stops the run with its batch saved when a loss or a gradient is NaN or infinite. */
  requireFinite(
    step: number,
    values: { readonly loss: number; readonly gradNorm: number },
    batch: unknown,
  ): void {
    if (Number.isFinite(values.loss) && Number.isFinite(values.gradNorm)) return;
    const found = `loss ${values.loss} and gradient norm ${values.gradNorm}`;
    throw this.failed(step, 'loss-not-finite', `expected a finite loss and gradient, found ${found}`, batch);
  }

  /** Stops the run with its batch saved when engine and trainer disagree about the log-probabilities of a rollout. */
  requireMatch(
    step: number,
    update: { readonly mismatch: number; readonly targets: number },
    batch: unknown,
  ): void {
    const mean = update.mismatch / Math.max(1, update.targets);
    const bound = mismatchBounds[this.context.compute.dtype];
    if (mean <= bound) return;
    const found = `the mean |logp engine - logp trainer| is ${mean.toPrecision(3)}, more than ${bound}`;
    throw this.failed(step, 'engine-mismatch', found, batch);
  }

  private failed(step: number, code: string, what: string, batch: unknown): ReckonError {
    const path = join(this.context.directory, `failed-batch-${step}.json`);
    writeFileAtomic(path, `${JSON.stringify(batch)}\n`);
    return new ReckonError(
      'run',
      code,
      `${this.context.name}, step ${step}: ${what}; the batch is in ${path}`,
    );
  }

  /** Writes the last checkpoint if it is not there, names it as the stage's output, closes the files. */
  async end(outcome: StageOutcome): Promise<StageOutcome> {
    this.progress.finish();
    if (outcome === 'stopped')
      this.context.log(`${this.context.name}: stopped after step ${this.lastSaved}, which is saved`);
    const { newest } = newestWholeCheckpoint(this.context.directory);
    if (newest) this.context.setOutput(newest.path);
    return outcome;
  }

  private async save(step: number): Promise<void> {
    const { policy: model, tokenizer, optimizer } = this;
    const state = { version: 1, trainer: this.options.trainer, step, tokens: this.tokens } as const;
    await writeCheckpoint(this.context.directory, step, (folder) =>
      saveTrainer(folder, { model, tokenizer, optimizer, state }),
    );
    pruneCheckpoints(this.context.directory, this.options.checkpoints.keepLast);
    this.lastSaved = step;
  }

  [Symbol.dispose](): void {
    this.metrics.close();
    this.optimizer[Symbol.dispose]();
    this.policy[Symbol.dispose]();
  }
}

function parentOf(context: TrainContext): string {
  if (context.parent !== null) return context.parent;
  throw new ReckonError(
    'recipe',
    'no-model',
    `${context.name}: no earlier stage left a model; begin with a 'prepare' stage`,
  );
}
