/** Owns the cutting of long texts into overlapping pieces of so many tokens. Knows no model. */

import { ReckonError } from '../util/errors.ts';
import type { Tokenizer } from './tokenizer.ts';

/** A piece of a text as token ids, and where they stand in all ids of the text. */
export interface TokenChunk {
  readonly ids: readonly number[];
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

export interface ChunkOptions {
  /** Most tokens of a piece. */
  readonly size: number;
  /** Tokens that a piece has in common with the one before; less than `size`. Default 0. */
  readonly overlap?: number | undefined;
}

/**
 * Pieces of exactly `size` tokens but for the last, each beginning `size - overlap` tokens after the one before, which
 * together hold every token; none ends within the last's overlap. Ids are cut, never encoded again; a text of one piece comes
 * back whole. Throws `bad-chunks` for sizes that cannot be.
 */
export function chunkTokens(
  tokenizer: Pick<Tokenizer, 'encode' | 'decode'>,
  text: string,
  { size, overlap = 0 }: ChunkOptions,
): TokenChunk[] {
  if (!Number.isInteger(size) || !Number.isInteger(overlap) || overlap < 0 || overlap >= size) {
    const found = `found size ${size} and overlap ${overlap}`;
    throw new ReckonError('usage', 'bad-chunks', `expected whole numbers with 0 <= overlap < size, ${found}`);
  }
  const ids = tokenizer.encode(text);
  const chunks: TokenChunk[] = [];
  for (let start = 0; start < ids.length; start += size - overlap) {
    const end = Math.min(ids.length, start + size);
    const piece = ids.slice(start, end);
    chunks.push({ ids: piece, text: tokenizer.decode(piece), start, end });
    if (end === ids.length) break;
  }
  return chunks;
}
