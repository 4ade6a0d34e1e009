/**
 * Owns which weights servers serve: a version is loaded on each of them under a name of its own and held against the model
 * here by a probe, the one before it is let go. Trains nothing.
 */

import type { Decoder } from '../../models/index.ts';
import { withAdapter } from '../../nn/index.ts';
import type { Tokenizer } from '../../text/index.ts';
import { ReckonError } from '../../util/errors.ts';
import { Rng } from '../../util/rng.ts';
import type { Engine, GenerationOptions } from '../engine.ts';
import { isUnfiltered, type SamplingParameters } from '../sampling.ts';
import { loadOnServer, unloadFromServer } from './adapter-service.ts';
import { backoffMs, sleep } from './backoff.ts';
import type { RemoteClient } from './client.ts';
import { deadline } from './deadline.ts';
import { remoteEngine } from './engine.ts';
import { PassingFailure } from './http.ts';
import { meanDifference, ownLogps } from './probe.ts';
import { completionBody, readCompletion } from './protocol.ts';
import { UnknownModel } from './refusal.ts';
import type { Server } from './servers.ts';

/** Weights that servers are to serve. */
export interface PublishedVersion {
  /** A name that no other weights ever have: servers keep what they computed by it. */
  readonly name: string;
  /** The adapter's folder as the servers see it; null for the base under its own name. */
  readonly path: string | null;
  /** The same weights in this process. */
  readonly model: Decoder;
  /** Whether `model` without its adapter is the base, which is then probed too. */
  readonly hasBase: boolean;
}

/** What is asked of every version. */
export interface ProbeOptions {
  readonly promptIds: readonly number[];
  /** How rollouts will be drawn: tells whether the servers' log-probabilities are of that distribution. */
  readonly sampling: SamplingParameters;
  /** Largest mean |logp server - logp here| over the probe's tokens (nats). */
  readonly tolerance: number;
  /** Tokens of the probe. */
  readonly tokens: number;
}

/** A server's answer to the probe, and what the model here says of the same tokens. */
interface Answer {
  readonly version: string;
  readonly ids: readonly number[];
  readonly theirs: readonly number[];
  readonly ours: readonly number[];
}

const remembered = 16;

/** The versions of one policy on all servers. */
export class PublishedPolicy {
  private readonly client: RemoteClient;
  private readonly tokenizer: Tokenizer;
  private readonly eosTokenIds: readonly number[];
  private readonly log: (line: string) => void;
  private current: { readonly version: PublishedVersion; readonly probe: ProbeOptions } | null = null;
  /** Of each server, so that another version can be recognised; the base is the first of them. */
  private readonly answers = new Map<Server, Answer[]>();
  private readonly providing = new Map<Server, Promise<boolean>>();

  constructor(
    client: RemoteClient,
    tokenizer: Tokenizer,
    eosTokenIds: readonly number[],
    log: (line: string) => void,
  ) {
    this.client = client;
    this.tokenizer = tokenizer;
    this.eosTokenIds = eosTokenIds;
    this.log = log;
  }

  /** The name that is served now; null before the first. */
  get name(): string | null {
    return this.current?.version.name ?? null;
  }

  /**
   * Loads a version on every server and probes it there; the one before is unloaded. A server that cannot be reached gets it
   * when it is asked for it. Throws `remote-other-weights` where a server answers with other weights.
   */
  async publish(version: PublishedVersion, probe: ProbeOptions): Promise<Engine> {
    const before = this.current?.version ?? null;
    this.current = { version, probe };
    await this.withDeadline((signal) => this.toAnyServer(signal));
    if (before?.path && before.name !== version.name) await this.unload(before.name);
    return remoteEngine(this.client, {
      name: version.name,
      tokenizer: this.tokenizer,
      eosTokenIds: this.eosTokenIds,
      ...(version.path === null ? {} : { provide: (server, signal) => this.provideOnce(server, signal) }),
    });
  }

  /** Lets the version go that is served now. */
  async close(): Promise<void> {
    const version = this.current?.version;
    this.current = null;
    if (version?.path) await this.unload(version.name);
  }

  /** Tries all servers, and again those that failed as long as none has it. */
  private async toAnyServer(signal: AbortSignal): Promise<void> {
    const { retries, backoffS } = this.client.options;
    const rng = new Rng({ seed: 0, purpose: 'retry', id: this.name ?? '' });
    for (let attempt = 1; ; attempt++) {
      const failures = await Promise.all(this.client.servers.all.map((one) => this.tryServer(one, signal)));
      if (failures.includes(null)) return;
      if (attempt > retries) {
        const message = `no server took up ${this.name} in ${attempt} tries; ${failures[0]}`;
        throw new ReckonError('environment', 'remote-failed', message);
      }
      await sleep(backoffMs(attempt, 1000 * backoffS, rng), signal);
    }
  }

  /** Null, or why the server does not have it yet. */
  private async tryServer(server: Server, signal: AbortSignal): Promise<string | null> {
    server.busy++;
    let succeeded: boolean | null = null;
    try {
      await this.provide(server, signal);
      succeeded = true;
      return null;
    } catch (error) {
      if (!(error instanceof PassingFailure)) throw error;
      succeeded = false;
      this.log(`${server.url} did not take up ${this.name}: ${error.message}`);
      return `${server.url}: ${error.message}`;
    } finally {
      this.client.servers.give(server, succeeded);
    }
  }

  /** For a server that was away or started anew; the requests that find it so wait for the same loading. */
  private provideOnce(server: Server, signal: AbortSignal): Promise<boolean> {
    const known = this.providing.get(server);
    if (known) return known;
    this.log(`${server.url} does not know ${this.name}; loading it there`);
    const loading = this.provide(server, signal)
      .then(() => true)
      .finally(() => this.providing.delete(server));
    this.providing.set(server, loading);
    return loading;
  }

  private async provide(server: Server, signal: AbortSignal): Promise<void> {
    const { version, probe } = this.current!;
    const { model, hasBase, path, name } = version;
    const first = !this.answers.has(server);
    if (path !== null) await loadOnServer(this.client, server, name, path, signal);
    if (first && hasBase && path !== null)
      await this.check(server, this.client.options.model, signal, (ids) =>
        withAdapter(model, null, () => ownLogps(model, probe.promptIds, ids, greedy)),
      );
    await this.check(server, name, signal, (ids) => ownLogps(model, probe.promptIds, ids, greedy));
    if (first) await this.checkMode(server, signal);
  }

  private async check(
    server: Server,
    name: string,
    signal: AbortSignal,
    own: (ids: readonly number[]) => number[],
  ): Promise<void> {
    const { ids, logps } = await this.ask(server, name, greedy, signal);
    const answer: Answer = { version: name, ids, theirs: logps, ours: own(ids) };
    const known = this.answers.get(server) ?? [];
    requireSame(server, answer, known, this.current!.probe.tolerance, this.client.options.model);
    this.answers.set(server, [...known.slice(0, 1), ...known.slice(1).slice(1 - remembered), answer]);
  }

  /** Whether the numbers are of the distribution that is drawn from, where that is not the model's own. */
  private async checkMode(server: Server, signal: AbortSignal): Promise<void> {
    const { version, probe } = this.current!;
    const { sampling, promptIds, tolerance } = probe;
    if (this.client.options.logprobs !== 'processed') return;
    if (sampling.temperature === 0 || (sampling.temperature === 1 && isUnfiltered(sampling))) return;
    const { ids, logps } = await this.ask(server, version.name, sampling, signal);
    const difference = meanDifference(logps, ownLogps(version.model, promptIds, ids, sampling));
    if (difference <= tolerance) return;
    const found = `they are off by ${difference.toPrecision(3)} a token`;
    const message = `${server.url} gives no log-probabilities of the distribution that it samples from (${found}); start it with --logprobs-mode processed_logprobs`;
    throw new ReckonError('environment', 'remote-logprobs-mode', message);
  }

  private async ask(
    server: Server,
    model: string,
    sampling: SamplingParameters,
    signal: AbortSignal,
  ): Promise<{ readonly ids: readonly number[]; readonly logps: readonly number[] }> {
    const { promptIds, tokens } = this.current!.probe;
    const what = `the probe of ${model}`;
    const question = { model, promptIds, maxNewTokens: tokens, seed: 0 };
    const options: GenerationOptions = { ...sampling, maxNewTokens: tokens, stopIds: [], seed: 0, step: 0 };
    const body = completionBody(question, options);
    try {
      const told = await this.client.tell(server, { path: '/v1/completions', model, body, what, signal });
      return readCompletion(told, question, what);
    } catch (error) {
      if (!(error instanceof UnknownModel) || model !== this.client.options.model) throw error;
      const message = `${error.message}; engine.model must be the name of the base there`;
      throw new ReckonError('environment', 'remote-no-model', message);
    }
  }

  private async unload(name: string): Promise<void> {
    await this.withDeadline((signal) =>
      Promise.all(this.client.servers.all.map((one) => unloadFromServer(this.client, one, name, signal))),
    );
  }

  private async withDeadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const seconds = this.client.options.totalTimeoutS;
    const message = `the servers did not take up ${this.name} within ${seconds} s`;
    const late = () => new ReckonError('environment', 'remote-deadline', message);
    const { signal, end, close } = deadline(seconds, undefined, late);
    try {
      return await work(signal);
    } catch (error) {
      // What goes on with the other servers is of no more use.
      end(error);
      throw error;
    } finally {
      close();
    }
  }
}

const greedy: SamplingParameters = { temperature: 0, topP: 1 };

/** Throws where the answer is not of the weights here, with the version that it looks like. */
function requireSame(
  { url }: Server,
  answer: Answer,
  known: readonly Answer[],
  tolerance: number,
  base: string,
): void {
  const { version, ids, theirs, ours } = answer;
  const difference = meanDifference(theirs, ours);
  const alike = known.filter((one) => one.ids.join() === ids.join());
  const closest = alike.toSorted(
    (a, b) => meanDifference(a.theirs, theirs) - meanDifference(b.theirs, theirs),
  )[0];
  // An older version within the tolerance shows by giving its numbers to the last bit, though the weights have moved.
  const stale = alike.find(
    (one) => one.theirs.join() === theirs.join() && meanDifference(one.ours, ours) > tolerance / 10,
  );
  if (difference <= tolerance && !stale) return;
  const seen = stale ?? (closest && meanDifference(closest.theirs, theirs) <= tolerance ? closest : null);
  const looks =
    seen === null
      ? 'weights that this run has not published'
      : seen.version === base
        ? `the base ${base} without an adapter`
        : `the earlier version ${seen.version}`;
  const found = `mean |logp server - logp here| is ${difference.toPrecision(3)} over ${ids.length} tokens, at most ${tolerance} is allowed`;
  const message = `${url} answers the probe of ${version} with other weights (${found}); it seems to serve ${looks}`;
  throw new ReckonError('environment', 'remote-other-weights', message);
}
