/** Owns text as ids come in: pieces that together are the whole text, and never half a character. Knows no model. */

import type { Tokenizer } from './tokenizer.ts';

/** What byte sequences that are not (yet) UTF-8 decode to. */
const replacement = '\uFFFD';

/**
 * Decodes ids one by one, special tokens left out. The pieces of `push`, and what `end` gives, are together what
 * `decode` gives of all ids at once. An id that ends inside a character gives '' until the character is whole.
 */
export class StreamDecoder {
  private readonly tokenizer: Tokenizer;
  /** Ids since the last place but one where the text stood on its own: spaces may depend on the id before. */
  private recent: number[] = [];
  /** How many of the recent ids are given out. */
  private given = 0;

  constructor(tokenizer: Tokenizer) {
    this.tokenizer = tokenizer;
  }

  /** The text that this id makes certain; '' while it is the beginning of a character. */
  push(id: number): string {
    this.recent.push(id);
    const whole = this.tokenizer.decode(this.recent);
    if (whole.endsWith(replacement)) return '';
    const piece = this.rest(whole);
    // An id without a text of its own (a special token, a first space) is no ground for the next one to stand on.
    if (piece !== '') {
      this.recent = this.recent.slice(this.given);
      this.given = this.recent.length;
    }
    return piece;
  }

  /** What is still held back: bytes that never became a character, as U+FFFD. The decoder is empty afterwards. */
  end(): string {
    const piece = this.rest(this.tokenizer.decode(this.recent));
    this.recent = [];
    this.given = 0;
    return piece;
  }

  private rest(whole: string): string {
    return whole.slice(this.tokenizer.decode(this.recent.slice(0, this.given)).length);
  }
}
