/** Owns chats as text and ids beyond the reference cases; the expected texts are what transformers 5.18 renders. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ChatTemplate, loadTokenizer } from '../../src/text/index.ts';

const tokenizerOf = (name: string) =>
  loadTokenizer(join(import.meta.dirname, '../golden/cases/tokenizers', name));
const plain = '{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}';
const trimming = plain.replace('m.content', 'm.content | trim');

describe('a chat whose last message goes on', () => {
  const continued = (template: string, content: string) =>
    new ChatTemplate(tokenizerOf('tiny_qwen'), template).render(
      [
        { role: 'user', content: 'end' },
        { role: 'assistant', content },
      ],
      { continueFinalMessage: true },
    );

  it.each([
    ['an empty message', plain, '', '<user>end<end><assistant>'],
    ['spaces that are kept', plain, ' so \n', '<user>end<end><assistant> so \n'],
    ['spaces that are trimmed', trimming, ' so \n', '<user>end<end><assistant>so'],
    ['spaces of Python alone', trimming, '\x1cso\x85', '<user>end<end><assistant>so'],
    ['a word that stands behind it too', plain, 'end', '<user>end<end><assistant>end'],
  ])('%s', (_, template, content, expected) => {
    expect(continued(template, content)).toBe(expected);
  });

  it('must stand in the text', () => {
    expect(() => continued('{{ messages[0].content }}', 'x')).toThrow(/cannot be continued/);
  });
});

it('tools and documents are defined and none unless they are given', () => {
  const chat = new ChatTemplate(
    tokenizerOf('tiny_qwen'),
    '{{ tools is defined }} {{ tools is not none }} {{ documents is none }}',
  );
  expect(chat.render([{ role: 'user', content: '' }])).toBe('True False True');
  expect(chat.render([{ role: 'user', content: '' }], { variables: { tools: [] } })).toBe('True True True');
});

it.each(['tiny_qwen', 'tiny_llama3'])('%s: marks lie on what was said behind decomposed letters', (name) => {
  const template = `{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}`;
  const tokenizer = tokenizerOf(name);
  const { ids, assistant } = new ChatTemplate(tokenizer, template).encodeMarked([
    { role: 'user', content: 'Ame\u0301lie, nai\u0308ve?\n' },
    { role: 'assistant', content: '12' },
    { role: 'user', content: '\ne\u0301' },
  ]);
  expect(tokenizer.decode(ids.filter((_, i) => assistant[i] === 1))).toBe('12');
});
