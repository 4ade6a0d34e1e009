/** Owns the files of a tokenizer in a model folder, and what transformers 4 and 5 put where. Encodes nothing. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, ReckonError } from '../util/errors.ts';

/** The two files that make a tokenizer in Hugging Face's format; the config holds the chat template, if there is one. */
export interface TokenizerFiles {
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
}

const specialNames = ['bos_token', 'eos_token', 'pad_token', 'unk_token'];

/**
 * Reads tokenizer.json and tokenizer_config.json. A chat template in a file of its own (transformers 5) comes before one
 * in the config, of several the one named `default` counts; special tokens may stand in special_tokens_map.json.
 */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const tokenizer = readJson(join(folder, 'tokenizer.json'));
  const config = readJson(join(folder, 'tokenizer_config.json'));
  const map = join(folder, 'special_tokens_map.json');
  const special = existsSync(map) ? readJson(map) : {};
  const missing = specialNames.filter((name) => config[name] === undefined && special[name] !== undefined);
  const template = chatTemplateOf(folder, config['chat_template']);
  return {
    tokenizer,
    config: {
      ...config,
      ...Object.fromEntries(missing.map((name) => [name, special[name]])),
      ...(template === undefined ? {} : { chat_template: template }),
    },
  };
}

function chatTemplateOf(folder: string, stated: unknown): unknown {
  const path = join(folder, 'chat_template.jinja');
  if (existsSync(path)) return readFileSync(path, 'utf8');
  if (!Array.isArray(stated)) return stated;
  const named = stated as readonly { readonly name?: unknown; readonly template?: unknown }[];
  return named.find(({ name }) => name === 'default')?.template;
}

function readJson(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new ReckonError('data', 'bad-tokenizer', `${path} cannot be read: ${messageOf(error)}`);
  }
}
