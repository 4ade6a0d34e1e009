/** Owns the step from a prompt's text to its token ids; nothing is ever tokenised again afterwards. */

import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';

/**
 * The ids of a prompt, after bos where the tokenizer begins texts with it and the text (of a chat template) does not begin so.
 * A text that the tokenizer would change, but for Unicode's composed forms, is an error, and so is a prompt of no token: what
 * follows it would have nothing to be predicted from.
 */
export function encodePrompt(tokenizer: Tokenizer, text: string): number[] {
  return withTokens(begun(tokenizer, encodeExactly(tokenizer, text)), 'a prompt', 'begins no text');
}

/** Ids after bos, where the tokenizer begins texts with it and they do not begin so. */
export function begun({ firstId }: Tokenizer, ids: number[]): number[] {
  return firstId === null || ids[0] === firstId ? ids : [firstId, ...ids];
}

/** The ids of a completion to learn, ended by the tokenizer's eos where it has one; one of no token is an error. */
export function encodeCompletion(tokenizer: Tokenizer, text: string): number[] {
  const ids = encodeExactly(tokenizer, text);
  return withTokens(
    tokenizer.eosId === null ? ids : [...ids, tokenizer.eosId],
    'a completion',
    'ends no text',
  );
}

function withTokens(ids: number[], what: string, silent: string): number[] {
  if (ids.length > 0) return ids;
  const message = `expected ${what} of at least one token, found an empty text, and the tokenizer ${silent} by a token of its own; leave the example out or give it a text`;
  throw new ReckonError('data', 'empty-text', message);
}

function encodeExactly(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text);
  // With special tokens, because the text of a chat template has them.
  const back = tokenizer.decodeAll(ids);
  if (back === text || back === text.normalize('NFC')) return ids;
  throw new ReckonError(
    'data',
    'not-in-vocabulary',
    `the tokenizer reads ${JSON.stringify(text.slice(0, 80))} back as ${JSON.stringify(back.slice(0, 80))}; its vocabulary lacks a character of it`,
  );
}
