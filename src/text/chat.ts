/** Owns chats as text and as ids: the template of a tokenizer, prompts, which tokens the assistant said. */

import { ReckonError } from '../util/errors.ts';
import { JinjaTemplate, type Rendered } from './jinja.ts';
import { stripped } from './python-strings.ts';
import type { Tokenizer } from './tokenizer.ts';

/** One turn; further keys (tool calls, reasoning) reach the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

export interface ChatOptions {
  /** Ends with what opens the assistant's turn. */
  readonly addGenerationPrompt?: boolean;
  /** Leaves the last message open, so that a model goes on with it. */
  readonly continueFinalMessage?: boolean;
  /** Of further variables that a template knows, such as `enable_thinking` and `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** A conversation as ids; `assistant` is 1 where a token is what the assistant said, by the template's own marks. */
export interface EncodedChat {
  readonly ids: number[];
  readonly assistant: number[];
}

/** A tokenizer's chat template; `source` replaces the tokenizer's own. */
export class ChatTemplate {
  private readonly tokenizer: Tokenizer;
  private readonly template: JinjaTemplate;
  private readonly marks: boolean;

  constructor(tokenizer: Tokenizer, source?: string) {
    const text = source ?? templateOf(tokenizer);
    this.tokenizer = tokenizer;
    this.template = new JinjaTemplate(text);
    this.marks = /\{%[-+]?\s*generation/.test(text);
  }

  /** Whether the template marks what the assistant says. */
  get hasMarks(): boolean {
    return this.marks;
  }

  /** The conversation as text. */
  render(messages: readonly ChatMessage[], options: ChatOptions = {}): string {
    return this.rendered(messages, options).text;
  }

  /** The conversation as ids; special tokens in it are recognised, none are added. */
  encode(messages: readonly ChatMessage[], options: ChatOptions = {}): number[] {
    return this.tokenizer.encode(this.render(messages, options));
  }

  /** Ids with the assistant's tokens marked; throws `no-generation-marks` for a template without the tags. */
  encodeMarked(messages: readonly ChatMessage[], options: ChatOptions = {}): EncodedChat {
    if (!this.marks) {
      const advice = 'use a training template that has them, or train on prompt and completion';
      throw new ReckonError(
        'data',
        'no-generation-marks',
        `the chat template has no {% generation %} tags, so what the assistant said is not known; ${advice}`,
      );
    }
    const { text, generated } = this.rendered(messages, options);
    const ids = this.tokenizer.encode(text);
    const ends = this.tokenizer.byteEnds(ids);
    const assistant = ids.map(() => 0);
    for (const [start, end] of generated) {
      const [first, last] = [this.bytesUpTo(text, start), this.bytesUpTo(text, end)];
      if (first === last) continue;
      ids.forEach((_, i) => {
        const begin = i === 0 ? 0 : ends[i - 1]!;
        if (begin < last && ends[i]! > first) assistant[i] = 1;
      });
    }
    return { ids, assistant };
  }

  private rendered(messages: readonly ChatMessage[], options: ChatOptions): Rendered {
    const { addGenerationPrompt = false, continueFinalMessage = false, variables } = options;
    if (addGenerationPrompt && continueFinalMessage) {
      const message = 'a chat either continues its final message or opens a new turn; choose one';
      throw new ReckonError('usage', 'bad-chat', message);
    }
    const rendered = this.template.render({
      messages: continueFinalMessage ? [...messages.slice(0, -1), marked(messages.at(-1))] : messages,
      add_generation_prompt: addGenerationPrompt,
      // What transformers always sets: templates ask whether these are defined.
      tools: null,
      documents: null,
      ...this.tokenizer.specialTexts,
      ...variables,
    });
    return continueFinalMessage ? { ...rendered, text: opened(rendered.text, messages) } : rendered;
  }

  private bytesUpTo(text: string, end: number): number {
    return Buffer.byteLength(this.tokenizer.normalized(text.slice(0, end)));
  }
}

/** A noncharacter of Unicode behind the content that goes on; a template that trims takes the space behind it away. */
const mark = '\uFDD2';

function marked(message: ChatMessage | undefined): ChatMessage | undefined {
  return typeof message?.content === 'string'
    ? { ...message, content: `${message.content}${mark} ` }
    : message;
}

/** The text cut behind the last message's content; trailing spaces are left out where the template trims. */
function opened(text: string, messages: readonly ChatMessage[]): string {
  const content = messages.at(-1)?.content;
  const place = text.lastIndexOf(mark);
  if (typeof content !== 'string' || place < 0 || !text.includes(stripped(content))) {
    const message = 'the final message does not stand in the rendered chat, so it cannot be continued';
    throw new ReckonError('data', 'bad-chat', message);
  }
  const kept = text.slice(0, place);
  return text[place + 1] === ' ' ? kept : stripped(kept, null, 'right');
}

/** Whether a prompt's ids begin the whole conversation's ids, as training on completions takes for granted. */
export function isPrefix(promptIds: readonly number[], allIds: readonly number[]): boolean {
  return promptIds.length <= allIds.length && promptIds.every((id, i) => id === allIds[i]);
}

function templateOf({ files }: Tokenizer): string {
  const source = files.config['chat_template'];
  if (typeof source === 'string') return source;
  const message = 'the tokenizer has no chat template: tokenizer_config.json has no chat_template';
  throw new ReckonError('data', 'no-chat-template', message);
}
