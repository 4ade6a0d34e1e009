/**
 * Owns supervised examples as token ids with a word on which of them are learned: plain text, or a prompt and its
 * completion. Knows no loss.
 */

import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { readJsonl } from '../util/jsonl.ts';
import type { TrainingSequence } from './micro-batches.ts';

/** One line of a file: a text learned whole, or a prompt with the completion that is learned. */
export type SupervisedExample =
  | { readonly text: string }
  | { readonly prompt: string; readonly completion: string };

export interface SupervisedOptions {
  /** Whether only completions are learned, where there are prompts. */
  readonly completionOnly: boolean;
  /** Rows are cut on the right. */
  readonly maxLength: number;
}

/** Token ids, and for each whether it is learned. */
export interface SupervisedRow {
  readonly ids: readonly number[];
  readonly learned: readonly boolean[];
}

/**
 * The row of an example, ended by the tokenizer's eos unless it ends so already; null where nothing is left to learn. A
 * prompt and its completion are encoded as one text, as the reference trainers do; the prompt's own length in tokens
 * says where the completion begins.
 */
export function supervisedRow(
  tokenizer: Tokenizer,
  example: SupervisedExample,
  { completionOnly, maxLength }: SupervisedOptions,
): SupervisedRow | null {
  const prompt = 'prompt' in example ? example.prompt : '';
  const text = 'prompt' in example ? prompt + example.completion : example.text;
  const all = tokenizer.encode(text);
  if (tokenizer.eosId !== null && all.at(-1) !== tokenizer.eosId) all.push(tokenizer.eosId);
  const start = completionOnly && prompt !== '' ? tokenizer.encode(prompt).length : 0;
  const ids = all.slice(0, maxLength);
  if (start >= ids.length) return null;
  return { ids, learned: ids.map((_, t) => t >= start) };
}

/** A row as trainers take it; its first token is never predicted. */
export function sequenceOf({ ids, learned }: SupervisedRow): TrainingSequence {
  const first = learned.findIndex((one, t) => t > 0 && one);
  const start = first < 0 ? ids.length : first;
  const rest = learned.slice(start);
  const sequence = { promptIds: ids.slice(0, start), completionIds: ids.slice(start) };
  return rest.every(Boolean) ? sequence : { ...sequence, learned: rest };
}

/** The rows of a JSONL file as sequences; lines in which nothing is left to learn are left out. */
export function readSupervised(
  path: string,
  tokenizer: Tokenizer,
  options: SupervisedOptions,
): TrainingSequence[] {
  const rows = readJsonl(path, (value) => supervisedRow(tokenizer, asExample(value), options));
  const sequences = rows.flatMap((row) => (row && row.ids.length > 1 ? [sequenceOf(row)] : []));
  if (sequences.length > 0) return sequences;
  throw new ReckonError('data', 'no-examples', `${path} holds no example of which a token is learned`);
}

function asExample(value: unknown): SupervisedExample {
  const { text, prompt, completion } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof text === 'string') return { text };
  if (typeof prompt === 'string' && typeof completion === 'string') return { prompt, completion };
  throw new ReckonError('data', 'bad-example', 'expected a text, or a prompt and a completion');
}

/** The same sequence with every token learned but the first. */
export function wholeSequence({ promptIds, completionIds }: TrainingSequence): TrainingSequence {
  const ids = [...promptIds, ...completionIds];
  return { promptIds: ids.slice(0, 1), completionIds: ids.slice(1) };
}
