/** Owns that templates call strings as Python does; the expected texts are what transformers 5.18 renders. */

import { describe, expect, it } from 'vitest';
import { JinjaTemplate } from '../../src/text/jinja.ts';

const render = (template: string, content = '') =>
  new JinjaTemplate(template).render({ messages: [{ role: 'user', content }] }).text;

describe('strings in templates', () => {
  it.each([
    ["{{ 'xxaxx'.strip('x') }}", 'a'],
    ["{{ 'bbrief..'.lstrip('b').rstrip('.') }}", 'rief'],
    ["[{{ '\\n\\n  x \\n'.lstrip('\\n').rstrip('\\n') }}]", '[  x ]'],
    ["{{ 'prefix-body'.removeprefix('prefix-') }}{{ 'body.txt'.removesuffix('.txt') }}", 'bodybody'],
    ["{{ 'abc'.find('c') }} {{ 'abc'.find('x') }} {{ 'abcabc'.count('b') }}", '2 -1 2'],
    [
      "{{ 0.00001 }} {{ [0.0001, -0.00000025] | tojson }} {{ 'x' ~ 0.00005 }}",
      '1e-05 [0.0001, -2.5e-07] x5e-05',
    ],
    ["{{ {'a': '0.00001 0.00002', 'b': 0.00003} | tojson }}", '{"a": "0.00001 0.00002", "b": 3e-05}'],
    ["a\r\n{% if true %}\r\nb\r{% endif %}\r\n{{ 'c' }}\r\n", 'a\nb\nc'],
    ['{{ -5 % 3 }} {{ 5 % -3 }} {{ 7 % 3 }}', '1 -1 1'],
    ["{{ '👍🏽é'|length }} {{ [1, 2]|length }}", '3 2'],
    ["{{ [1, {'x': none, 'y': true}] | string }} {{ 'a' | string }}", "[1, {'x': None, 'y': True}] a"],
    ['{{ True }} {{ False }} {{ None }} {{ [True, None] }}', 'True False None [True, None]'],
  ])('%s', (template, expected) => {
    expect(render(template)).toBe(expected);
  });

  it("keep the spaces of reasoning that Qwen3's template parts from its answer", () => {
    const template =
      "{% set c = messages[0].content %}[{{ c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{ c.split('</think>')[-1].lstrip('\\n') }}]";
    expect(render(template, '<think>\n  indented \n</think>\n\n  so')).toBe('[  indented |  so]');
  });

  it('are quoted in lists as Python quotes them', () => {
    expect(render('{{ [messages[0].content] }}', 'a\rb\x00\xa0\xadé')).toBe("['a\\rb\\x00\\xa0\\xadé']");
  });

  it('have the spaces of Python at their ends, in the method and in the filter', () => {
    for (const how of ['.strip()', ' | trim']) {
      const template = `[{{ messages[0].content${how} }}]`;
      expect(render(template, '\x1c\x85 a \u3000')).toBe('[a]');
      expect(render(template, '\ufeffa\u200b')).toBe('[\ufeffa\u200b]');
    }
  });
});
