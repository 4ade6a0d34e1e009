/** Owns the public face of text: tokenizers. */

export { characterTokenizer, specialTokens } from './character-tokenizer.ts';
export { loadTokenizer, Tokenizer, type TokenizerFiles } from './tokenizer.ts';
