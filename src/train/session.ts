/**
 * Owns what every trainer does between steps: resume from the newest whole checkpoint, metrics, progress, checkpoints,
 * stopping. Knows no algorithm.
 */

import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  adapterInfo,
  listCheckpoints,
  loadOptimizer,
  newestWholeCheckpoint,
  pruneCheckpoints,
  readTrainerState,
  saveTrainer,
  stageModelInfo,
  writeCheckpoint,
  writeModelCard,
  writeModelInfo,
} from '../checkpoints/index.ts';
import type { Engine, SamplingParameters } from '../generate/index.ts';
import {
  type AdapterOptions,
  type Decoder,
  openPolicy,
  openReference,
  trainedAdapter,
  type WeightFormat,
} from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { AdamW, type AdamWOptions, type ScheduleOptions } from '../optim/index.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { deviceMemory, liveTensors, noGrad, scope } from '../torch/index.ts';
import { bestSteps, type MetricRecord, MetricsWriter, Progress, readMetrics } from '../track/index.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter, truncateJsonl } from '../util/jsonl.ts';
import { BudgetClock, type TokenBudget } from './budget.ts';
import { computeWith } from './compute.ts';
import { parentOf, type StageContext, type StageOutcome } from './context.ts';
import { type LimitOptions, Limits } from './limits.ts';
import { type RemoteRollouts, RolloutEngines } from './rollout-engine.ts';

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

export interface SessionOptions extends AdamWOptions, LimitOptions {
  readonly trainer: string;
  readonly steps: number;
  readonly checkpoints: {
    readonly every: number;
    readonly keepLast: number;
    /** Checkpoints kept beside the newest because their steps did best. */
    readonly keepBest?: number;
  };
  /** Trained in place of the model's own weights, which stay as they are. */
  readonly adapter?: AdapterOptions | undefined;
  /** Ends the stage by the tokens it samples, if `steps` do not end it before. */
  readonly budget?: TokenBudget | null | undefined;
  /** Servers that sample the policy's completions; null, the default, samples them here. */
  readonly remote?: RemoteRollouts | null | undefined;
  /** Measures the policy where the budget says so; the record goes into the step's metrics. */
  readonly measure?: (open: OpenEngine, tokenizer: Tokenizer) => Promise<MetricRecord>;
}

/** Opens an engine of the policy as it is now; the prompt is for a probe. */
export type OpenEngine = (prompt: () => readonly number[], sampling: SamplingParameters) => Promise<Engine>;

/** Means above these say that engine and trainer compute different things, not that they round differently. */
const mismatchBounds = { f32: 1e-4, bf16: 0.05, int8: 0.2 } as const;

/** A training run's policy, optimizer and files, from where it left off. */
export class Session implements Disposable {
  readonly policy: Decoder;
  readonly tokenizer: Tokenizer;
  readonly optimizer: AdamW;
  /** Where rollouts are sampled. */
  readonly engines: RolloutEngines;
  /** Steps done before this process began. */
  readonly startStep: number;
  /** What the trainer keeps between steps, as JSON; it is in every checkpoint, and here again after a resume. */
  readonly extra: Record<string, unknown>;
  /** The checkpoint that this process goes on from; null where the stage begins. */
  readonly resumedFrom: string | null;
  private readonly clock: BudgetClock;
  private readonly limits: Limits;
  private readonly alsoSaved: ((folder: string, step: number) => void)[] = [];
  private readonly context: TrainContext;
  private readonly options: SessionOptions;
  private readonly metrics: MetricsWriter;
  private readonly progress: Progress;
  private tokens: number;
  private lastSaved: number;
  private cpu: NodeJS.CpuUsage = process.cpuUsage();

  constructor(context: TrainContext, options: SessionOptions) {
    const { directory, compute } = context;
    computeWith(compute);
    const { newest, broken } = newestWholeCheckpoint(directory);
    for (const one of broken)
      context.log(`${context.name}: step ${one.step}'s checkpoint is skipped: ${one.reason}`);
    const folder = newest?.path ?? parentOf(context);
    const state = newest && readTrainerState(newest.path);
    this.context = context;
    this.options = options;
    this.policy = this.open(folder);
    this.tokenizer = loadTokenizer(folder);
    this.engines = new RolloutEngines(context, this.policy, this.tokenizer, options.remote ?? null);
    this.optimizer = new AdamW(trainableParameters(this.policy), options);
    if (newest) loadOptimizer(newest.path, this.optimizer);
    this.startStep = state?.step ?? 0;
    this.lastSaved = this.startStep;
    this.tokens = state?.tokens ?? 0;
    this.extra = { ...state?.extra };
    this.clock = new BudgetClock(options.budget ?? null, Number(this.extra['generatedTokens'] ?? 0));
    this.resumedFrom = newest?.path ?? null;
    if (newest) context.log(`${context.name}: resuming after step ${newest.step} of ${options.steps}`);
    this.metrics = MetricsWriter.open(join(directory, 'metrics.jsonl'), {
      fsync: true,
      ...(newest ? { resumeFromStep: this.startStep } : {}),
    });
    this.limits = new Limits(readMetrics(join(directory, 'metrics.jsonl')), options);
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
    using start = this.open(parentOf(this.context));
    noGrad(() =>
      scope(() => {
        const state = trainableParameters(start);
        for (const [name, parameter] of trainableParameters(this.policy)) parameter.copy_(state.get(name)!);
      }),
    );
    this.optimizer.reset();
  }

  /** The model that the stage began with, read only; under an adapter it shares the policy's base and device. */
  startReference(device: string = this.context.compute.device): Decoder {
    const { dtype } = this.context.compute;
    return openReference(this.policy, parentOf(this.context), { dtype, device });
  }

  private open(folder: string): Decoder {
    const { compute, seed } = this.context;
    const { adapter } = this.options;
    const policy = openPolicy(folder, {
      dtype: 'f32',
      computeDtype: compute.dtype,
      device: compute.device,
      adapter,
      seed,
    });
    policy.gradientCheckpointing = compute.gradientCheckpointing ?? false;
    return policy;
  }

  /** Whether there is a step of this number: neither steps, sampled tokens, time nor patience are used up before it. */
  goesOn(step: number): boolean {
    return step <= this.options.steps && !this.clock.usedUp && this.limits.reached === null;
  }

  /** Counts completions towards the budget, whether they are learned from or not. */
  countGenerated(completions: readonly { readonly completionIds: readonly number[] }[]): void {
    this.clock.add(completions.reduce((sum, { completionIds }) => sum + completionIds.length, 0));
  }

  /** The learning rate of a step whose completions are sampled. */
  learningRate(step: number, options: ScheduleOptions): number {
    return this.clock.learningRate(step, options);
  }

  /**
   * Ends a step: metrics, progress, a checkpoint when one is due or a stop was asked for. True when to stop early.
   * `isLast` says that the trainer ends here, whatever `goesOn` says.
   */
  async finishStep(
    step: number,
    record: MetricRecord & { readonly 'batch/tokens': number },
    isLast = false,
  ): Promise<boolean> {
    this.tokens += record['batch/tokens'];
    const cpu = process.cpuUsage(this.cpu);
    const due = this.clock.endStep();
    const onDevice = deviceMemory(this.policy.device);
    if (this.clock.generated > 0) this.extra['generatedTokens'] = this.clock.generated;
    const full = {
      ...record,
      'time/cpu_s': (cpu.user + cpu.system) / 1e6,
      ...(this.clock.generated > 0 ? { 'rollouts/generated_tokens': this.clock.generated } : {}),
      ...(due ? await this.options.measure?.(this.engines.opener(step), this.tokenizer) : {}),
      'memory/live_tensors': liveTensors(),
      'memory/rss_bytes': process.memoryUsage.rss(),
      ...(onDevice ? { 'memory/device_peak_bytes': onDevice.peak } : {}),
    };
    this.metrics.write(step, full);
    this.progress.update(step, full);
    const reached = this.limits.note(full);
    if (reached !== null && step < this.options.steps)
      this.context.log(`${this.context.name}: ends after step ${step}: ${reached}`);
    await new Promise((resolve) => setImmediate(resolve));
    const last = isLast || !this.goesOn(step + 1);
    const stop = this.context.stopRequested() && !last;
    if (stop || last || step % this.options.checkpoints.every === 0) await this.save(step);
    this.cpu = process.cpuUsage();
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

  /** Stops the run with its batch saved when engine, sampling with `weights`, and trainer disagree about the log-probabilities of a rollout. */
  requireMatch(
    step: number,
    update: { readonly mismatch: number; readonly compared: number },
    batch: unknown,
    weights: WeightFormat = 'full',
  ): void {
    const mean = update.mismatch / Math.max(1, update.compared);
    const own = mismatchBounds[weights === 'int8' ? 'int8' : this.context.compute.dtype];
    const bound = this.options.remote?.mismatchBound ?? own;
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
    await this.engines.close();
    if (outcome === 'stopped')
      this.context.log(`${this.context.name}: stopped after step ${this.lastSaved}, which is saved`);
    const { newest } = newestWholeCheckpoint(this.context.directory);
    if (newest) this.context.setOutput(newest.path);
    return outcome;
  }

  /** Has `write` put files of its own into every checkpoint's folder, under its checksums. */
  alsoSave(write: (folder: string, step: number) => void): void {
    this.alsoSaved.push(write);
  }

  /** Writes model_info.json and the model card beside a saved policy. */
  describe(folder: string, step: number): void {
    const { context, options, policy } = this;
    const config = trainedAdapter(policy);
    const info = stageModelInfo(context.directory, parentOf(context), {
      how: options.trainer,
      steps: step,
      tokens: this.tokens,
      adapter: config && adapterInfo(config, false),
    });
    writeModelInfo(folder, info);
    writeModelCard(folder, info);
  }

  private async save(step: number): Promise<void> {
    const { policy: model, tokenizer, optimizer } = this;
    const state = {
      version: 1,
      trainer: this.options.trainer,
      step,
      tokens: this.tokens,
      ...(Object.keys(this.extra).length > 0 ? { extra: this.extra } : {}),
    } as const;
    await writeCheckpoint(this.context.directory, step, (folder) => {
      saveTrainer(folder, { model, tokenizer, optimizer, state });
      for (const write of this.alsoSaved) write(folder, step);
      this.describe(folder, step);
    });
    this.prune();
    this.lastSaved = step;
  }

  private prune(): void {
    const { directory } = this.context;
    const { keepLast, keepBest = 0 } = this.options.checkpoints;
    const steps = listCheckpoints(directory).map(({ step }) => step);
    const best =
      keepBest > 0 ? bestSteps(readMetrics(join(directory, 'metrics.jsonl')), steps, keepBest) : [];
    pruneCheckpoints(directory, keepLast, best);
  }

  [Symbol.dispose](): void {
    this.metrics.close();
    this.engines[Symbol.dispose]();
    this.optimizer[Symbol.dispose]();
    this.policy[Symbol.dispose]();
  }
}
