/** Owns the lines of files that are learned from, supervised examples and preference pairs, by their shape alone. Encodes nothing. */

import * as z from 'zod';
import type { ChatMessage } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { readJsonl } from '../util/jsonl.ts';

/** Columns of conversations beside their messages, by TRL's names: what their chat template is told. */
export interface ChatColumns {
  /** Definitions of tools, as a list or as its JSON. */
  readonly tools?: string | readonly unknown[] | null | undefined;
  /** Further variables of the template. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | null | undefined;
}

/** One line of a file: a text or a conversation learned whole, or a prompt with the completion that is learned. */
export type SupervisedExample =
  | { readonly text: string }
  | ({ readonly messages: readonly ChatMessage[] } & ChatColumns)
  | { readonly prompt: string; readonly completion: string }
  | ({ readonly prompt: readonly ChatMessage[]; readonly completion: readonly ChatMessage[] } & ChatColumns);

/** A pair as text. */
export interface PairText {
  readonly prompt: string;
  readonly chosen: string;
  readonly rejected: string;
}

/** Two completions of one prompt as token ids; the first is the better one. */
export interface PreferencePair {
  readonly promptIds: readonly number[];
  readonly chosenIds: readonly number[];
  readonly rejectedIds: readonly number[];
}

const messagesSchema = z
  .array(z.looseObject({ role: z.string(), content: z.unknown() }))
  .min(1) as unknown as z.ZodType<readonly ChatMessage[]>;
const toolsSchema = z.union([z.array(z.unknown()), z.string().refine(isListAsJson, 'no list as JSON')]);
const chatColumns = {
  tools: toolsSchema.nullish(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
};
const exampleSchemas: readonly z.ZodType<SupervisedExample>[] = [
  z.object({ messages: messagesSchema, ...chatColumns }),
  z.object({ prompt: messagesSchema, completion: messagesSchema, ...chatColumns }),
  z.object({ prompt: z.string(), completion: z.string() }),
  z.object({ text: z.string() }),
];

const idsSchema = z.array(z.int().nonnegative()).min(1);
const pairSchemas: readonly z.ZodType<PairText | PreferencePair>[] = [
  z.object({ promptIds: idsSchema, chosenIds: idsSchema, rejectedIds: idsSchema }),
  z.object({ prompt: z.string(), chosen: z.string(), rejected: z.string() }),
];

/** The supervised examples of a JSONL file. A line that is none is an error that names it, as is a file without any. */
export function readExamples(path: string): SupervisedExample[] {
  const wanted =
    'text, messages, or prompt and completion (both texts or both messages), and tools as a list or its JSON';
  return readRows(path, exampleSchemas, wanted);
}

/** The preference pairs of a JSONL file: ids where a line has both ids and text. Errors as `readExamples`. */
export function readPairLines(path: string): (PairText | PreferencePair)[] {
  return readRows(path, pairSchemas, 'prompt, chosen and rejected as text, or their ids');
}

function readRows<T>(path: string, schemas: readonly z.ZodType<T>[], wanted: string): T[] {
  const parse = (value: unknown): T => {
    for (const schema of schemas) {
      const parsed = schema.safeParse(value);
      if (parsed.success) return parsed.data;
    }
    throw new ReckonError('data', 'bad-row', `expected ${wanted}, found ${shapeOf(value)}`);
  };
  const rows = readJsonl(path, parse, { torn: 'refused' });
  if (rows.length > 0) return rows;
  throw new ReckonError('data', 'no-rows', `${path} is empty; a line of it holds ${wanted}`);
}

function isListAsJson(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}

/** `prompt (text), answer (number)`. */
function shapeOf(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return typeName(value);
  const keys = Object.entries(value).map(([key, inner]) => `${key} (${typeName(inner)})`);
  return keys.length === 0 ? 'no key' : keys.slice(0, 6).join(', ');
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'string' ? 'text' : typeof value === 'object' ? 'a mapping' : typeof value;
}
