/**
 * Owns supervised examples as token ids with a word on which of them are learned: plain text, a prompt and its
 * completion, or a conversation. Knows no loss.
 */

import { type ChatColumns, readExamples, type SupervisedExample } from '../data/training-rows.ts';
import { begun } from '../prompts/index.ts';
import { type ChatMessage, ChatTemplate, type Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import type { TrainingSequence } from './micro-batches.ts';

export interface SupervisedOptions {
  /** Whether only completions are learned, where there are prompts. */
  readonly completionOnly: boolean;
  /** Whether only what the assistant said is learned, in conversations. */
  readonly assistantOnly: boolean;
  /** Rows are cut on the right. */
  readonly maxLength: number;
}

/** Token ids, and for each whether it is learned. */
export interface SupervisedRow {
  readonly ids: readonly number[];
  readonly learned: readonly boolean[];
  /** The example was longer than allowed. */
  readonly cut?: true;
}

/** Encodes examples by a tokenizer and, for conversations, its chat template. */
export class SupervisedRows {
  private readonly tokenizer: Tokenizer;
  private readonly options: SupervisedOptions;
  private template: ChatTemplate | undefined;

  constructor(tokenizer: Tokenizer, options: SupervisedOptions) {
    this.tokenizer = tokenizer;
    this.options = options;
  }

  /**
   * The row of an example; null where nothing is left to learn. A prompt and its completion are encoded as one text, as
   * the reference trainers do; the prompt's own length in tokens says where the completion begins. Plain text gets the
   * tokenizer's bos, as prompts do that are sampled from, and its eos unless it ends so already; a conversation begins and
   * ends as its template has it.
   */
  row(example: SupervisedExample): SupervisedRow | null {
    const { completionOnly, maxLength } = this.options;
    const { ids, marked, promptLength } = this.encoded(example);
    const start = completionOnly ? promptLength : 0;
    const learned = ids.slice(0, maxLength).map((_, t) => t >= start && (marked?.[t] ?? true));
    if (!learned.includes(true)) return null;
    return {
      ids: ids.slice(0, maxLength),
      learned,
      ...(ids.length > maxLength ? { cut: true as const } : {}),
    };
  }

  private encoded(example: SupervisedExample): {
    readonly ids: readonly number[];
    readonly promptLength: number;
    readonly marked?: readonly boolean[];
  } {
    if ('text' in example) return { ids: this.ended(example.text), promptLength: 0 };
    if (isText(example)) {
      const { prompt, completion } = example;
      const promptLength = begun(this.tokenizer, this.tokenizer.encode(prompt)).length;
      return { ids: this.ended(`${prompt}${completion}`), promptLength };
    }
    const variables = templateVariables(example);
    if ('messages' in example) return { ...this.conversation(example.messages, variables), promptLength: 0 };
    const opened = this.chat.encode(example.prompt, { addGenerationPrompt: true, variables });
    const whole = [...example.prompt, ...example.completion];
    return { ...this.conversation(whole, variables), promptLength: opened.length };
  }

  private ended(text: string): number[] {
    const { eosId } = this.tokenizer;
    const ids = begun(this.tokenizer, this.tokenizer.encode(text));
    return eosId === null || ids.at(-1) === eosId ? ids : [...ids, eosId];
  }

  private conversation(
    messages: readonly ChatMessage[],
    variables: Readonly<Record<string, unknown>>,
  ): { ids: number[]; marked?: boolean[] } {
    if (!this.options.assistantOnly) return { ids: this.chat.encode(messages, { variables }) };
    if (this.tokenizer.idOf('<|im_start|>') === null || this.chat.hasMarks) {
      const { ids, assistant } = this.chat.encodeMarked(messages, { variables });
      return { ids, marked: assistant.map((one) => one === 1) };
    }
    const ids = this.chat.encode(messages, { variables });
    return { ids, marked: this.chatMlMarks(ids) };
  }

  /** In ChatML everything from behind `<|im_start|>assistant` to the line's end behind `<|im_end|>` is the assistant's. */
  private chatMlMarks(ids: readonly number[]): boolean[] {
    const opening = [this.tokenizer.idOf('<|im_start|>')!, ...this.tokenizer.encode('assistant')];
    const end = this.tokenizer.idOf('<|im_end|>');
    const marked = ids.map(() => false);
    for (let t = 0; t + opening.length < ids.length; t++) {
      if (!opening.every((id, i) => ids[t + i] === id)) continue;
      const close = ids.indexOf(end ?? -1, t);
      const behind = close >= 0 && this.tokenizer.decode(ids.slice(close + 1, close + 2)) === '\n' ? 2 : 1;
      marked.fill(true, t + opening.length, close < 0 ? ids.length : close + behind);
    }
    return marked;
  }

  private get chat(): ChatTemplate {
    this.template ??= new ChatTemplate(this.tokenizer);
    return this.template;
  }
}

function isText(example: SupervisedExample): example is PromptText {
  return 'prompt' in example && typeof example.prompt === 'string';
}

type PromptText = Extract<SupervisedExample, { readonly prompt: string }>;

/** What a row tells the chat template beside its messages; tools may be written as JSON. */
function templateVariables({ tools, chat_template_kwargs: more }: ChatColumns): Record<string, unknown> {
  const list = typeof tools === 'string' ? JSON.parse(tools) : tools;
  return { ...(list == null ? {} : { tools: list }), ...more };
}

/** A row as trainers take it; its first token is never predicted. */
export function sequenceOf({ ids, learned }: SupervisedRow): TrainingSequence {
  const first = learned.findIndex((one, t) => t > 0 && one);
  const start = first < 0 ? ids.length : first;
  const rest = learned.slice(start);
  const sequence = { promptIds: ids.slice(0, start), completionIds: ids.slice(start) };
  return rest.every(Boolean) ? sequence : { ...sequence, learned: rest };
}

/** The rows of a JSONL file as sequences. Rows that are cut or hold nothing to learn are counted, and `log` is told. */
export function readSupervised(
  path: string,
  tokenizer: Tokenizer,
  options: SupervisedOptions,
  log: (line: string) => void = () => undefined,
): TrainingSequence[] {
  const encoder = new SupervisedRows(tokenizer, options);
  const rows = readExamples(path).map((example) => encoder.row(example));
  const sequences = rows.flatMap((row) => (row ? [sequenceOf(row)] : []));
  const learning = sequences.filter(({ completionIds }) => completionIds.length > 0);
  const cut = rows.filter((row) => row?.cut).length;
  const left = rows.length - learning.length;
  if (cut > 0)
    log(`${path}: ${cut} of ${rows.length} rows pass ${options.maxLength} tokens and are cut there`);
  if (left > 0) log(`${path}: ${left} of ${rows.length} rows hold nothing to learn and are left out`);
  if (learning.length > 0) return learning;
  throw new ReckonError('data', 'no-examples', `${path} holds no example of which a token is learned`);
}

/** The same sequence with every token learned but the first. */
export function wholeSequence({ promptIds, completionIds }: TrainingSequence): TrainingSequence {
  const ids = [...promptIds, ...completionIds];
  return { promptIds: ids.slice(0, 1), completionIds: ids.slice(1) };
}
