/** Owns the public face of prompts. */

export { begun, encodeCompletion, encodePrompt } from './encode.ts';
export { completionLengths, type LengthReport, type NamedText, promptLengths } from './lengths.ts';
export {
  type PromptTemplate,
  promptTemplate,
  type RenderChat,
  TEMPLATES,
  type TemplateName,
} from './templates.ts';
