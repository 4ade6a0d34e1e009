/** Owns the options by which commands sample from servers, and the engine that they come to. Loads no weights. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { Engine } from '../generate/engine.ts';
import { RemoteClient } from '../generate/remote/client.ts';
import { remoteEngine } from '../generate/remote/engine.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { collect } from './values.ts';

/** What `servedBy` adds to a command. */
export interface EndpointOptions {
  readonly endpoint?: readonly string[];
  readonly model?: string;
  readonly apiKeyEnv?: string;
}

/** Servers, and what they call the model. */
export interface Endpoint {
  readonly servers: readonly string[];
  readonly model: string;
  readonly apiKeyEnv: string | null;
  /** Requests at once. */
  readonly concurrency: number;
}

/** Adds the options of servers. */
export function servedBy(command: Command): Command {
  return command
    .option(
      '--endpoint <url>',
      'sample from a vLLM server; may be repeated for interchangeable servers',
      collect,
    )
    .option('--model <name>', 'what the servers call the model')
    .option('--api-key-env <name>', "environment variable that holds the servers' key");
}

/** The servers that the options name, or null; `fallback` is the model's name where they do not say it. */
export function endpointOf(
  { endpoint, model, apiKeyEnv }: EndpointOptions,
  concurrency: number,
  fallback?: string,
): Endpoint | null {
  const clash = (message: string): never => {
    throw new ReckonError('usage', 'endpoint-options', message);
  };
  if (endpoint === undefined) {
    if (model !== undefined) return clash('--model names a model of servers; give their --endpoint too');
    if (apiKeyEnv !== undefined) return clash('--api-key-env is for servers; give their --endpoint too');
    return null;
  }
  const bad = endpoint.find((url) => !/^https?:\/\/[^\s/]/.test(url));
  if (bad !== undefined) return clash(`--endpoint must be http:// or https:// and an address, found ${bad}`);
  const name = model ?? fallback;
  if (name === undefined) return clash('--endpoint needs --model, the name of the model on the servers');
  return { servers: endpoint, model: name, apiKeyEnv: apiKeyEnv ?? null, concurrency };
}

/** An engine of the servers for texts alone: what log-probabilities they give does not matter. */
export function endpointEngine(
  { concurrency, ...endpoint }: Endpoint,
  tokenizer: Tokenizer,
  folder: string,
  log: (line: string) => void,
): Engine {
  const patience = { requestTimeoutS: 1800, totalTimeoutS: 24 * 3600, retries: 8, backoffS: 0.5 };
  const client = new RemoteClient({ ...endpoint, ...patience, concurrency, logprobs: 'raw' }, log);
  const eosTokenIds = endingIds(folder, tokenizer);
  return remoteEngine(client, { name: endpoint.model, tokenizer, eosTokenIds });
}

/** The ids that end a completion by the folder's config, as for a model that is loaded; else the tokenizer's own. */
function endingIds(folder: string, { eosId }: Tokenizer): number[] {
  const path = join(folder, 'config.json');
  const stated = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)['eos_token_id']
    : null;
  const known = [stated].flat().filter((id): id is number => typeof id === 'number');
  return known.length > 0 || eosId === null ? known : [eosId];
}
