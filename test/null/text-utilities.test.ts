import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  characterTokenizer,
  chunkTokens,
  cleanText,
  keywordSpans,
  paragraphs,
  type Span,
  sentences,
  steps,
  tagged,
} from '../../src/text/index.ts';
import {
  exactArithmetic,
  formatR,
  isArithmetic,
  parseArithmetic,
  simplifyExpression,
} from '../../src/util/index.ts';

const texts = (spans: readonly Span[]): string[] => spans.map(({ text }) => text);

describe('cleaning', () => {
  it('keeps lines, and takes out what cannot be seen', () => {
    expect(cleanText('  a \u200b b\t c \r\n\r\n\n\nd\u0000 \n')).toBe('a b c\n\nd');
    expect(cleanText('a \n b', { oneLine: true })).toBe('a b');
    expect(cleanText('3 × 4² ÷ ½ − 1', { plainMath: true })).toBe('3 * 4^2 / 1/2 - 1');
    expect(cleanText('naïve – #1 @ 50% (ok)!', { wordsOnly: true })).toBe('naïve 1 50 (ok)!');
  });

  it('changes nothing the second time', () => {
    const options = fc.record({ oneLine: fc.boolean(), plainMath: fc.boolean(), wordsOnly: fc.boolean() });
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), options, (text, given) => {
        const once = cleanText(text, given);
        expect(cleanText(once, given)).toBe(once);
      }),
    );
  });
});

describe('segments', () => {
  it('sentences end where a reader stops', () => {
    const text =
      'Pi is 3.14 or so. Mr. Smith has 5 (five!). "Why?" Ask J. Doe...\n\n1. First do this.\n2. then that\n他有三个。然后呢？';
    expect(texts(sentences(text))).toEqual([
      'Pi is 3.14 or so.',
      'Mr. Smith has 5 (five!).',
      '"Why?"',
      'Ask J. Doe...',
      '1. First do this.',
      '2. then that\n他有三个。',
      '然后呢？',
    ]);
  });

  it('paragraphs are what empty lines separate', () => {
    expect(texts(paragraphs('a\nb\n\n \nc\n'))).toEqual(['a\nb', 'c']);
  });

  it('steps go from mark to mark, or are lines', () => {
    expect(texts(steps('We know x.\nStep 1: add\nmore\nStep 2: halve\nTherefore 4'))).toEqual([
      'We know x.',
      'Step 1: add\nmore',
      'Step 2: halve',
      'Therefore 4',
    ]);
    expect(texts(steps('1) a\n2) b\n- c'))).toEqual(['1) a', '2) b', '- c']);
    expect(texts(steps('3 * 4 = 12\n\n12 + 1.5 = 13.5'))).toEqual(['3 * 4 = 12', '12 + 1.5 = 13.5']);
  });

  it('are where they say, in order, and leave only space out', () => {
    const unit = fc.constantFrom('a', 'B', ' ', '\n', '.', '!', '1', '。', 'Step 1:', 'Then ', '- ', '"');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), (text) => {
        for (const cut of [sentences, paragraphs, steps]) {
          let end = 0;
          for (const span of cut(text)) {
            expect(text.slice(span.start, span.end)).toBe(span.text);
            expect(text.slice(end, span.start).trim()).toBe('');
            end = span.end;
          }
          expect(text.slice(end).trim()).toBe('');
        }
      }),
    );
  });

  it('take linear time', () => {
    const started = process.cpuUsage().user;
    for (const text of [
      '.'.repeat(3e5),
      'a. '.repeat(1e5),
      '\n'.repeat(3e5),
      'Step 1:'.repeat(5e4),
      '1.\n'.repeat(1e5),
    ])
      for (const cut of [sentences, paragraphs, steps]) cut(text);
    expect(process.cpuUsage().user - started).toBeLessThan(5_000_000);
  });
});

describe('keywords', () => {
  it('are found as whole words, with their places', () => {
    const text = 'So, therefore it is so. Solve f(x) so';
    expect(keywordSpans(text, ['so', 'f(x)']).map(({ text: word, start }) => [word, start])).toEqual([
      ['So', 0],
      ['so', 20],
      ['f(x)', 30],
      ['so', 35],
    ]);
    expect(keywordSpans(text, ['so'], { caseSensitive: true, wholeWords: false })).toHaveLength(2);
    expect(keywordSpans('所以答案是5', ['答案是'])).toMatchObject([{ start: 2, end: 5, keyword: '答案是' }]);
    expect(keywordSpans('a-b [c]', ['a-b', '[c]', ''])).toHaveLength(2);
  });
});

describe('chunks', () => {
  const tokenizer = characterTokenizer([...'abcdefghij']);

  it('overlap by so many tokens and hold all', () => {
    const chunks = chunkTokens(tokenizer, 'abcdefghij', { size: 4, overlap: 1 });
    expect(chunks.map(({ text, start, end }) => [text, start, end])).toEqual([
      ['abcd', 0, 4],
      ['defg', 3, 7],
      ['ghij', 6, 10],
    ]);
    expect(chunkTokens(tokenizer, 'abc', { size: 4, overlap: 3 }).map(({ text }) => text)).toEqual(['abc']);
    expect(chunkTokens(tokenizer, '', { size: 4 })).toEqual([]);
    expect(() => chunkTokens(tokenizer, 'abc', { size: 2, overlap: 2 })).toThrow('0 <= overlap < size');
  });
});

it('tags hold what is between them', () => {
  expect(tagged('<a>1</a> <a> 2</a><a>3', 'a')).toEqual(['1', ' 2']);
});

describe('arithmetic', () => {
  it.each([
    ['1/3 + 1/6', '1/2'],
    ['0.1 + 0.2', '3/10'],
    ['1,000 × 3 ÷ 7', '3000/7'],
    ['-2^2', '-4'],
    ['2^-3', '1/8'],
    ['3(4)(5)', '60'],
    ['2**10', '1024'],
    ['99999999999999999999*99999999999999999999', '9999999999999999999800000000000000000001'],
  ])('%s is %s', (text, value) => {
    const found = exactArithmetic(text);
    expect(found.ok && formatR(found.value)).toBe(value);
  });

  it.each([
    ['1/0', 'division-by-zero'],
    ['0^-1', 'division-by-zero'],
    ['2^(1/2)', 'not-rational'],
    ['9^9^9', 'too-large'],
    ['x+1', 'has-names'],
    ['sin(1)', 'malformed'],
    ['1,00', 'malformed'],
    ['(1', 'malformed'],
  ])('%s has no exact value: %s', (text, reason) => {
    expect(exactArithmetic(text)).toEqual({ ok: false, reason });
  });

  it('says where an expression goes wrong', () => {
    expect(isArithmetic('2x + 3')).toBe(true);
    expect(parseArithmetic('2 + * 3')).toEqual({
      ok: false,
      at: 4,
      message: "expected a number, a letter or an opening parenthesis, found '*'",
    });
    expect(parseArithmetic('(2')).toMatchObject({
      at: 2,
      message: 'expected a closing parenthesis, found the end',
    });
    expect(parseArithmetic('('.repeat(500)).ok).toBe(false);
    expect(parseArithmetic('1'.repeat(3000)).ok).toBe(false);
  });

  it.each([
    ['2/4', '1/2'],
    ['(x+3)^2', 'x^2 + 6*x + 9'],
    ['(a-b)(a+b)', 'a^2 - b^2'],
    ['3x/6 - x/2', '0'],
    ['y*x - 2x*y + 1 - x^2', '-x^2 - x*y + 1'],
    ['1/x', null],
    ['(x+y+z)^60', null],
    ['x +', null],
  ])('%s simplified is %s', (text, simple) => {
    expect(simplifyExpression(text)).toBe(simple);
  });
});
