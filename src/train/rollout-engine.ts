/**
 * Owns where a stage's rollouts are sampled: by a snapshot in this process, or by servers that get the policy's adapter after
 * every update. Knows no task and no reward.
 */

import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  type Engine,
  localEngine,
  PublishedPolicy,
  policyVocabulary,
  RemoteClient,
  type RemoteOptions,
  type SamplingParameters,
} from '../generate/index.ts';
import { type Decoder, savePolicy, trainedAdapter, type WeightFormat } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { sha256OfFile } from '../util/files.ts';
import type { OpenEngine, TrainContext } from './session.ts';

/** Servers of the base that a stage trains an adapter on. */
export interface RemoteRollouts extends RemoteOptions {
  /** Folder that adapters are written to; by default one in the stage's folder. */
  readonly adapterFolder?: string | undefined;
  /** The same folder as the servers see it, where that is another path. */
  readonly serverAdapterFolder?: string | undefined;
  readonly probe: { readonly tokens: number; readonly tolerance: number };
  /** Largest mean |logp engine - logp trainer| of a step's rollouts. */
  readonly mismatchBound: number;
}

/** The engines of a session, one after another; the policy's versions on the servers are `<run>-<stage>-v<step>-<hash>`. */
export class RolloutEngines implements Disposable {
  /**
   * Ids that the policy is a distribution over, where it samples and where it learns: the tokenizer's. Servers draw from
   * every row of the embedding, so behind them it is all of those.
   */
  readonly vocabulary: number;
  private readonly context: TrainContext;
  private readonly policy: Decoder;
  private readonly tokenizer: Tokenizer;
  private readonly remote: RemoteRollouts | null;
  private readonly published: PublishedPolicy | null;
  private probeIds: readonly number[] | null = null;
  private folder: string | null = null;

  constructor(context: TrainContext, policy: Decoder, tokenizer: Tokenizer, remote: RemoteRollouts | null) {
    this.context = context;
    this.policy = policy;
    this.tokenizer = tokenizer;
    this.remote = remote;
    const { eosTokenIds, vocabSize } = policy.config;
    this.vocabulary = remote ? vocabSize : policyVocabulary(policy, tokenizer);
    const log = (line: string) => context.log(`${context.name}: ${line}`);
    this.published =
      remote && new PublishedPolicy(new RemoteClient(remote, log), tokenizer, eosTokenIds, log);
    if (remote && !trainedAdapter(policy)) {
      const message = `${context.name}: a remote engine serves a base and adapters on it, and this stage trains all weights; give it an adapter or engine.kind: local`;
      throw new ReckonError('recipe', 'remote-needs-adapter', message);
    }
  }

  /**
   * An engine that samples with a model's weights of now: servers for the policy where there are any, else a snapshot here.
   * The first prompt that it is given stays the probe of every version.
   */
  async open(
    model: Decoder,
    step: number,
    prompt: () => readonly number[],
    sampling: SamplingParameters,
    weights: WeightFormat = 'full',
  ): Promise<Engine> {
    const isPolicy = model === this.policy;
    if (!this.published || !isPolicy) return localEngine(model, this.tokenizer, isPolicy ? weights : 'full');
    this.probeIds ??= prompt();
    return await this.publish(step, this.probeIds, sampling);
  }

  /** `open` for the policy after a step's update. */
  opener(step: number): OpenEngine {
    return (prompt, sampling) => this.open(this.policy, step, prompt, sampling);
  }

  private async publish(
    step: number,
    promptIds: readonly number[],
    sampling: SamplingParameters,
  ): Promise<Engine> {
    const { adapterFolder, serverAdapterFolder, probe } = this.remote!;
    const parent = resolve(adapterFolder ?? join(this.context.directory, 'adapters'));
    const { name, folder } = this.write(parent, step);
    const path = serverAdapterFolder === undefined ? folder : join(serverAdapterFolder, name);
    const version = { name, path, model: this.policy, hasBase: true };
    const engine = await this.published!.publish(version, { ...probe, promptIds, sampling });
    if (this.folder !== null && this.folder !== folder) rmSync(this.folder, { recursive: true, force: true });
    this.folder = folder;
    return engine;
  }

  /** Saves the adapter in a folder named by run, stage, step and content: equal names are equal weights. */
  private write(parent: string, step: number): { readonly name: string; readonly folder: string } {
    const { directory } = this.context;
    const stage = `${basename(dirname(directory))}-${basename(directory)}`;
    const pending = join(parent, `.${stage}.pending`);
    rmSync(pending, { recursive: true, force: true });
    mkdirSync(pending, { recursive: true });
    savePolicy(this.policy, pending);
    const hash = sha256OfFile(join(pending, 'adapter_model.safetensors')).slice(0, 8);
    const same = this.published!.name?.endsWith(`-${hash}`) ?? false;
    const name = same ? this.published!.name! : `${stage}-v${step}-${hash}`;
    const folder = join(parent, name);
    rmSync(folder, { recursive: true, force: true });
    renameSync(pending, folder);
    return { name, folder };
  }

  /** Has the servers let the last version go. */
  async close(): Promise<void> {
    await this.published?.close();
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.folder !== null) rmSync(this.folder, { recursive: true, force: true });
    this.folder = null;
  }
}
