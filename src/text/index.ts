/** Owns the public face of text: tokenizers. */

export { characterTokenizer, specialTokens } from './character-tokenizer.ts';
export { type ChatMessage, type ChatOptions, ChatTemplate, type EncodedChat, isPrefix } from './chat.ts';
export * from './chunks.ts';
export * from './clean.ts';
export { JinjaTemplate, type Rendered } from './jinja.ts';
export * from './keywords.ts';
export * from './reasoning.ts';
export * from './segments.ts';
export { StreamDecoder } from './streaming.ts';
export * from './tags.ts';
export { loadTokenizer, Tokenizer } from './tokenizer.ts';
export type { TokenizerFiles } from './tokenizer-files.ts';
