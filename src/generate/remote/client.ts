/**
 * Owns the way of a request to one of several servers: which one, how often again, until when. Knows no tokens and no
 * adapters.
 */

import { ReckonError } from '../../util/errors.ts';
import type { Rng } from '../../util/rng.ts';
import { backoffMs, sleep } from './backoff.ts';
import { ask, PassingFailure } from './http.ts';
import { refusal, UnknownModel } from './refusal.ts';
import { type Server, Servers } from './servers.ts';

/** Servers of one model, and how patient to be with them. */
export interface RemoteOptions {
  /** Addresses, with or without `/v1`. */
  readonly servers: readonly string[];
  /** What the servers call the model. */
  readonly model: string;
  /** The environment variable that holds their key; null where they ask for none. */
  readonly apiKeyEnv: string | null;
  /** Of one request, waiting in the server's queue included. */
  readonly requestTimeoutS: number;
  /** Of all requests that are made at once: those of a step, or of a batch of problems. */
  readonly totalTimeoutS: number;
  /** Tries of a request after the first. */
  readonly retries: number;
  /** Before the first of them; doubled before each further one. */
  readonly backoffS: number;
  /** Requests under way at once, over all servers. */
  readonly concurrency: number;
  /**
   * Which log-probabilities the servers give: of the model's own distribution (vLLM's default, `raw_logprobs`), or of the one
   * that is sampled from (`--logprobs-mode processed_logprobs`).
   */
  readonly logprobs: 'raw' | 'processed';
}

/** One request, whoever answers it. */
export interface Errand<T> {
  readonly path: string;
  readonly model: string;
  readonly body: unknown;
  /** What it is for, as the sentence of an error begins. */
  readonly what: string;
  readonly rng: Rng;
  readonly signal: AbortSignal;
  readonly read: (body: string) => T;
  /** Called where a server does not know the model; true once it does. */
  readonly provide?: ((server: Server, signal: AbortSignal) => Promise<boolean>) | undefined;
}

/** Asks servers. */
export class RemoteClient {
  readonly options: RemoteOptions;
  readonly servers: Servers;
  private readonly key: string | null;
  private readonly log: (line: string) => void;

  constructor(options: RemoteOptions, log: (line: string) => void = () => undefined) {
    this.options = options;
    this.servers = new Servers(options.servers, 1000 * options.backoffS);
    this.key = keyOf(options.apiKeyEnv);
    this.log = log;
  }

  /** The answer of any server. Tries again, elsewhere first, while there is hope; throws the signal's reason. */
  async run<T>(errand: Errand<T>): Promise<T> {
    const { retries, backoffS } = this.options;
    for (let attempt = 1; ; attempt++) {
      const server = this.servers.take();
      let succeeded: boolean | null = null;
      let failure: PassingFailure;
      try {
        const value = await this.ask(server, errand);
        succeeded = true;
        return value;
      } catch (error) {
        if (!(error instanceof PassingFailure)) throw error;
        failure = error;
        succeeded = false;
        if (server.failures === 0) this.log(`${server.url}: ${failure.message}; trying again`);
      } finally {
        this.servers.give(server, succeeded);
      }
      if (attempt > retries) {
        const message = `${errand.what}: no server answered in ${attempt} tries, the last one ${server.url}: ${failure.message}`;
        throw new ReckonError('environment', 'remote-failed', message);
      }
      const wait = Math.max(failure.retryAfterMs, backoffMs(attempt, 1000 * backoffS, errand.rng));
      if (!this.servers.isAnyAwake) await sleep(wait, errand.signal);
    }
  }

  private async ask<T>(server: Server, errand: Errand<T>): Promise<T> {
    try {
      return errand.read(await this.tell(server, errand));
    } catch (error) {
      if (!(error instanceof UnknownModel) || !errand.provide) throw error;
      if (!(await errand.provide(server, errand.signal))) throw error;
      return errand.read(await this.tell(server, errand));
    }
  }

  /** The answer of one server to one try. Throws a PassingFailure where another try may help. */
  async tell(
    server: Server,
    { path, model, body, what, signal }: Pick<Errand<unknown>, 'path' | 'model' | 'body' | 'what' | 'signal'>,
  ): Promise<string> {
    const { apiKeyEnv, requestTimeoutS } = this.options;
    const answer = await ask({
      url: `${server.url}${path}`,
      method: body === null ? 'GET' : 'POST',
      ...(this.key === null ? {} : { headers: { authorization: `Bearer ${this.key}` } }),
      ...(body === null ? {} : { body }),
      timeoutMs: 1000 * requestTimeoutS,
      signal,
    });
    if (answer.status === 200) return answer.body;
    throw refusal(answer, { url: server.url, model, apiKeyEnv, what });
  }
}

function keyOf(name: string | null): string | null {
  if (name === null) return null;
  const key = process.env[name]?.trim();
  if (key) return key;
  throw new ReckonError(
    'environment',
    'remote-no-key',
    `expected the servers' key in the environment variable ${name}, which is not set`,
  );
}
