/** Owns what the environment says of the hub, by the names that all of its tools read. Opens no connection. */

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ReckonError } from '../util/errors.ts';

/** Where the hub is, who asks, and where its files are kept. */
export interface HubSettings {
  /** `HF_ENDPOINT`, without a slash at its end. */
  readonly endpoint: string;
  /** `HF_TOKEN`, or what the file of the hub's own tools holds; null without either. */
  readonly token: string | null;
  /** `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
  readonly cache: string;
  /** `HF_HUB_OFFLINE`: nothing is asked over the network. */
  readonly offline: boolean;
}

/** Reads the environment anew; an empty variable counts as one that is not set. */
export function hubSettings(): HubSettings {
  const home = path('HF_HOME') ?? join(path('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  return {
    endpoint: (variable('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, ''),
    token: tokenOf(path('HF_TOKEN_PATH') ?? join(home, 'token')),
    cache: path('HF_HUB_CACHE') ?? path('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    offline: ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].some((name) =>
      /^(1|true|on|yes)$/i.test(variable(name) ?? ''),
    ),
  };
}

function tokenOf(file: string): string | null {
  const stated = variable('HF_TOKEN') ?? variable('HUGGING_FACE_HUB_TOKEN');
  const token = stated ?? (existsSync(file) ? readFileSync(file, 'utf8') : '').trim();
  if (token === '') return null;
  if (token.startsWith('hf_')) return token;
  throw new ReckonError(
    'environment',
    'bad-token',
    `a token of the hub begins with hf_, and the one in ${stated === undefined ? file : 'HF_TOKEN'} does not; set HF_TOKEN to one`,
  );
}

function variable(name: string): string | undefined {
  const value = process.env[name]?.trim();
  return value === '' ? undefined : value;
}

function path(name: string): string | undefined {
  return variable(name)?.replace(/^~(?=$|\/)/, homedir());
}
