/**
 * Owns a model opened for text in the terminal: its tokenizer, chat template, where completions end, the options that
 * sampling commands share. Knows no command's input or output.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import type { Engine, GenerationOptions } from '../generate/engine.ts';
import { localModel } from '../hub/index.ts';
import type { WeightFormat } from '../models/index.ts';
import { ChatTemplate, loadTokenizer, type Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type Endpoint, endpointEngine } from './endpoint.ts';
import { downloadOptions } from './model-files.ts';
import type { GlobalOptions } from './output.ts';
import { fraction, positive, share, temperature, wholeNumber } from './values.ts';

/** What `sampledBy` adds to a command. */
export interface SamplingOptions extends GlobalOptions {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly maxTokens: number;
  readonly seed: number;
  readonly dtype: 'auto' | 'f32' | 'bf16';
  readonly device: 'auto' | 'cpu' | 'cuda';
  readonly weights: WeightFormat;
}

/** Adds the options of sampling and of where to compute. */
export function sampledBy(command: Command): Command {
  return command
    .option('--temperature <number>', '0 takes the likeliest token every time', temperature, 1)
    .option('--top-p <number>', 'share of probability kept', share, 1)
    .option('--top-k <number>', 'how many of the likeliest tokens are kept; 0 for all', wholeNumber, 0)
    .option('--min-p <number>', 'share of the likeliest token that a token needs; 0 for none', fraction, 0)
    .option('--max-tokens <number>', 'length at which a completion is cut', positive, 512)
    .option('--seed <number>', 'what is drawn follows from it', wholeNumber, 0)
    .addOption(
      new Option('--dtype <dtype>', 'of weights and activations')
        .choices(['auto', 'f32', 'bf16'])
        .default('auto'),
    )
    .addOption(
      new Option('--device <device>', 'where to compute').choices(['auto', 'cpu', 'cuda']).default('auto'),
    )
    .addOption(
      new Option(
        '--weights <format>',
        'int8 rounds matrices to 8 bit: half the memory, faster where few at once',
      )
        .choices(['full', 'int8'])
        .default('full'),
    );
}

/** A model that is only read, and what belongs to it. */
export interface TextModel extends Disposable {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** Null where the tokenizer has none. */
  readonly template: ChatTemplate | null;
  /** For the engine: how to draw, when to stop. */
  readonly generation: Omit<GenerationOptions, 'stopStrings'>;
}

/**
 * Opens a model or adapter, folder or hub id, in the dtype that it computes in: nothing is kept twice. Where an endpoint
 * samples, the name lends its tokenizer and its configs alone.
 */
export async function openTextModel(
  name: string,
  options: SamplingOptions,
  endpoint: Endpoint | null = null,
): Promise<TextModel> {
  const folder = await localModel(name, { ...downloadOptions(options), withWeights: endpoint === null });
  if (!endpoint) (await import('../models/index.ts')).readConfig(folder);
  const base = existsSync(join(folder, 'adapter_config.json')) ? await baseOf(folder) : folder;
  const tokenizer = loadTokenizer(existsSync(join(folder, 'tokenizer.json')) ? folder : base);
  const log = (line: string) => void process.stderr.write(`${line}\n`);
  const { engine, vocabulary } = endpoint
    ? { engine: endpointEngine(endpoint, tokenizer, base, log), vocabulary: tokenizer.size }
    : await openEngine(folder, tokenizer, options);
  return {
    engine,
    tokenizer,
    template: tokenizer.files.config['chat_template'] === undefined ? null : new ChatTemplate(tokenizer),
    generation: {
      temperature: options.temperature,
      topP: options.topP,
      topK: options.topK,
      minP: options.minP,
      maxNewTokens: options.maxTokens,
      seed: options.seed,
      step: 0,
      stopIds: endingIds(base, engine, tokenizer),
      vocabulary: Math.min(tokenizer.size, vocabulary),
    },
    [Symbol.dispose]: () => engine[Symbol.dispose](),
  };
}

/** The folder of an adapter folder's base; the folder itself where it is a whole model. */
async function baseOf(folder: string): Promise<string> {
  const { adapterBase, isAdapterFolder } = await import('../models/index.ts');
  return isAdapterFolder(folder) ? adapterBase(folder) : folder;
}

async function openEngine(
  folder: string,
  tokenizer: Tokenizer,
  options: SamplingOptions,
): Promise<{ readonly engine: Engine; readonly vocabulary: number }> {
  const { loadFrozen } = await import('../models/index.ts');
  const { engineOf } = await import('../generate/index.ts');
  const { resolveCompute } = await import('../run/compute.ts');
  const { freeCachedMemory, setThreads } = await import('../torch/index.ts');
  const compute = { device: options.device, dtype: options.dtype, threads: 'auto' } as const;
  const { device, dtype, threads } = await resolveCompute({ compute });
  setThreads(threads);
  const model = loadFrozen(folder, { dtype, device, weights: options.weights }, 'decoding');
  freeCachedMemory(device);
  return { engine: engineOf(model, tokenizer), vocabulary: model.config.vocabSize };
}

/** The ids that end a completion by the config, the generation config and the tokenizer together. */
function endingIds(folder: string, { eosTokenIds }: Engine, { eosId }: Tokenizer): number[] {
  const path = join(folder, 'generation_config.json');
  const stated = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)['eos_token_id']
    : null;
  return [...new Set([...eosTokenIds, stated, eosId].flat().filter((id) => typeof id === 'number'))];
}

/** The template, or an error that says what to do without one. */
export function requireTemplate({ template }: TextModel, name: string): ChatTemplate {
  if (template) return template;
  const advice = 'it is no chat model; give a plain prompt to reckon generate';
  throw new ReckonError('usage', 'no-chat-template', `${name} has no chat template: ${advice}`);
}
