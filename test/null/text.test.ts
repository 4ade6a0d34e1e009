import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alphabet } from '../../src/data/game24-traces.ts';
import { encodeCompletion, encodePrompt } from '../../src/prompts/index.ts';
import { characterTokenizer, loadTokenizer, Tokenizer } from '../../src/text/index.ts';

const tokenizer = characterTokenizer(alphabet);

describe('character tokenizers', () => {
  it('read any text of the alphabet back, one id a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 300 }), (text) => {
        const ids = tokenizer.encode(text);
        expect(ids).toHaveLength(text.length);
        expect(tokenizer.decode(ids)).toBe(text);
      }),
    );
  });

  it('have pad, bos and eos first, and leave them out of text', () => {
    expect([tokenizer.padId, tokenizer.bosId, tokenizer.eosId]).toEqual([0, 1, 2]);
    expect(tokenizer.size).toBe(alphabet.length + 3);
    expect(tokenizer.decode([1, ...tokenizer.encode('3 8'), 2])).toBe('3 8');
    expect(tokenizer.decode([])).toBe('');
  });

  it('are the same after saving and loading', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-text-'));
    tokenizer.save(folder);
    const back = loadTokenizer(folder);
    expect(back.files).toEqual(tokenizer.files);
    expect(back.encode('12/2=6 8 12\nx\n#')).toEqual(tokenizer.encode('12/2=6 8 12\nx\n#'));
    rmSync(folder, { recursive: true });
    expect(() => loadTokenizer(folder)).toThrow(/tokenizer.json cannot be read/);
  });

  it('add no special tokens of their own, whatever tokenizer.json says', () => {
    const item = (name: string, id: string) => ({ [name]: { id, type_id: 0 } });
    const post_processor = {
      type: 'TemplateProcessing',
      single: [item('SpecialToken', '<bos>'), item('Sequence', 'A')],
      pair: [item('SpecialToken', '<bos>'), item('Sequence', 'A'), item('Sequence', 'B')],
      special_tokens: { '<bos>': { id: '<bos>', ids: [1], tokens: ['<bos>'] } },
    };
    const { files } = tokenizer;
    const other = new Tokenizer({ ...files, tokenizer: { ...files.tokenizer, post_processor } });
    expect(other.encode('3 8')).toEqual(tokenizer.encode('3 8'));
  });

  it('have the ids of their alphabet in order, with letters for bytes as in every byte-level file', () => {
    const ascii = Array.from({ length: 128 }, (_, i) => String.fromCharCode(i));
    const all = characterTokenizer(ascii);
    expect(all.encode(ascii.join(''))).toEqual(ascii.map((_, i) => i + 3));
    expect(all.decode(ascii.map((_, i) => i + 3))).toBe(ascii.join(''));
    expect([all.idOf('Ġ'), all.idOf('Ċ'), all.idOf('a')]).toEqual([32 + 3, 10 + 3, 97 + 3]);
    expect(() => encodePrompt(tokenizer, '3 € 8')).toThrow(/lacks a character/);
  });

  it.each([
    ['ASCII', [...'abc 12+-\n~\t']],
    ['more than ASCII', [...'αβγ 12√🧮ab']],
  ])('have the ids that the library gives, %s', (_, letters) => {
    const ours = characterTokenizer(letters);
    const library = new Library(ours.files.tokenizer, ours.files.config);
    const units = [...letters, '<bos>', '<eos', '>', 'é', '\u{1F9EE}', '\uD800', 'Ġ'];
    const text = fc.string({ unit: fc.constantFrom(...units), maxLength: 60 });
    fc.assert(
      fc.property(text, (one) => {
        expect(ours.encode(one)).toEqual(library.encode(one, { add_special_tokens: false }).ids);
      }),
      { numRuns: 500 },
    );
  });

  it('have larger alphabets too', () => {
    const greek = characterTokenizer([...'αβγ 12√🧮']);
    expect(greek.encode('√2 αβ🧮')).toEqual([9, 8, 6, 3, 4, 10]);
    expect(greek.decode([9, 8, 6, 3, 4, 10])).toBe('√2 αβ🧮');
  });

  it('are still read as they were stored before', () => {
    const { files } = characterTokenizer(['é', ...alphabet]);
    const old = new Tokenizer(files);
    expect(files.tokenizer['decoder']).toEqual({ type: 'Fuse' });
    expect(old.decode(old.encode('3 8\nx'))).toBe('3 8\nx');
  });

  it('refuse an alphabet of words', () => {
    expect(() => characterTokenizer(['ab'])).toThrow(/single characters/);
  });
});

describe('prompts and completions', () => {
  it('begin with bos and end with eos', () => {
    expect(encodePrompt(tokenizer, '3 8')[0]).toBe(1);
    expect(encodeCompletion(tokenizer, '3 8').at(-1)).toBe(2);
  });

  it('begin with the bos that the post-processor puts there, not with one that is only named', () => {
    const { config, tokenizer: file } = tokenizer.files;
    const item = (name: string, id: string) => ({ [name]: { id, type_id: 0 } });
    const template = {
      type: 'TemplateProcessing',
      single: [item('SpecialToken', '<bos>'), item('Sequence', 'A')],
      pair: [item('Sequence', 'A'), item('Sequence', 'B')],
      special_tokens: { '<bos>': { id: '<bos>', ids: [1], tokens: ['<bos>'] } },
    };
    // A normaliser, so that it is none of reckon's own, which are known by their form.
    const begins = (post_processor: object | null) => {
      const normalizer = { type: 'NFC' };
      const other = new Tokenizer({ config, tokenizer: { ...file, normalizer, post_processor } });
      return encodePrompt(other, '3 8')[0] === other.bosId;
    };
    const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false };
    expect([null, byteLevel, template].map(begins)).toEqual([false, false, true]);
  });

  it('refuse a character that the vocabulary lacks, instead of losing it', () => {
    expect(() => encodePrompt(tokenizer, '3 ? 8')).toThrow(/lacks a character/);
  });
});
