/**
 * Owns the short way from text to ids for tokenizers that have a token for each character and merge none: the library takes
 * microseconds a character for what is one look-up. Refuses every text that it cannot be sure of.
 */

import { isDeepStrictEqual } from 'node:util';
import type { TokenizerFiles } from './tokenizer-files.ts';

/** Bytes as letters, as tokenizer.json says it. */
export const byteLevel: object = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: false,
  use_regex: false,
};

/** What has every character stand alone, as tokenizer.json says it. */
export function characterPretokenizer(ascii: boolean): object {
  const pattern = { Regex: '[\\s\\S]' };
  const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false };
  return ascii ? { type: 'Sequence', pretokenizers: [split, byteLevel] } : split;
}

/** The ids of a text, or null where the library must say. */
export type CharacterIds = (text: string) => number[] | null;

/** The look-up of a tokenizer that `characterTokenizer` made, here or elsewhere; null for every other. */
export function characterIds({ tokenizer }: Pick<TokenizerFiles, 'tokenizer'>): CharacterIds | null {
  const model = tokenizer['model'] as { type?: string; merges?: unknown[]; vocab?: Record<string, number> };
  if (model?.type !== 'BPE' || model.merges?.length !== 0 || (tokenizer['normalizer'] ?? null) !== null)
    return null;
  const bytes = [true, false].find((ascii) =>
    isDeepStrictEqual(tokenizer['pre_tokenizer'], characterPretokenizer(ascii)),
  );
  if (bytes === undefined) return null;
  const added = ((tokenizer['added_tokens'] ?? []) as { content: string }[]).map(({ content }) => content);
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(model.vocab ?? {}))
    if (!added.includes(token) && [...token].length === 1) ids.set(token, id);
  if (bytes) {
    const known = new Map(ids);
    ids.clear();
    for (let code = 0; code < 128; code++) {
      const id = known.get(byteToken(String.fromCharCode(code)));
      if (id !== undefined) ids.set(String.fromCharCode(code), id);
    }
  }
  return (text) => {
    if (added.some((content) => text.includes(content))) return null;
    const found: number[] = [];
    for (const character of text) {
      const id = ids.get(character);
      if (id === undefined) return null;
      found.push(id);
    }
    return found;
  };
}

/** GPT-2's letter for a byte of ASCII: control characters and the space stand at 256 and above. */
export function byteToken(character: string): string {
  const code = character.charCodeAt(0);
  return code > 32 && code < 127 ? character : String.fromCharCode(256 + (code === 127 ? 33 : code));
}
