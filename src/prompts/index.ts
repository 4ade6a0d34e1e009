/** Owns the public face of prompts. */

export { encodeCompletion, encodePrompt } from './encode.ts';
