/** Which teachers are refused: those whose tokenizer has another token at any id, however its file lists them. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { saveModel } from '../../src/models/index.ts';
import { Tokenizer } from '../../src/text/index.ts';
import type { TrainContext } from '../../src/train/session.ts';
import { loadTeacher } from '../../src/train/teacher.ts';
import { assertNoLeaks, tinyModel } from './tiny.ts';

assertNoLeaks();

const folder = mkdtempSync(join(tmpdir(), 'reckon-teacher-tokens-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const common = {
  version: '1.0',
  truncation: null,
  padding: null,
  normalizer: null,
  pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
  post_processor: null,
  decoder: { type: 'Fuse' },
};
const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const pad = { id: 0, content: '<pad>', ...flags };

/** Vocabularies are lists of [token, score] pairs in Unigram, and objects in the others. */
const models = {
  Unigram: (tokens: readonly string[]) => ({
    type: 'Unigram',
    unk_id: 0,
    byte_fallback: false,
    vocab: tokens.map((token, id) => [token, -id]),
  }),
  BPE: (tokens: readonly string[]) => ({
    type: 'BPE',
    merges: [],
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
  }),
  WordLevel: (tokens: readonly string[]) => ({
    type: 'WordLevel',
    unk_token: '<pad>',
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
  }),
};
const tokenizerOf = (kind: keyof typeof models, tokens: readonly string[]) =>
  new Tokenizer({
    tokenizer: { ...common, added_tokens: [pad], model: models[kind](tokens) },
    config: { pad_token: '<pad>' },
  });

describe.each(Object.keys(models) as (keyof typeof models)[])('a student of %s', (kind) => {
  const student = tokenizerOf(kind, ['<pad>', 'a', 'b', 'c']);
  const load = (tokens: readonly string[], other = kind) => {
    const path = join(folder, `${kind}-${other}-${tokens.length}-${tokens.join('').length}-${tokens.at(-1)}`);
    using model = tinyModel();
    saveModel(model, path);
    tokenizerOf(other, tokens).save(path);
    const compute = { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' };
    loadTeacher({ compute } as unknown as TrainContext, path, student)[Symbol.dispose]();
  };

  it('takes a teacher of the same tokens, whatever the kind of their file', () => {
    for (const other of Object.keys(models) as (keyof typeof models)[])
      expect(() => load(['<pad>', 'a', 'b', 'c'], other)).not.toThrow();
  });

  it('refuses tokens swapped, other, missing and added, and names the first', () => {
    expect(() => load(['<pad>', 'a', 'c', 'b'])).toThrow('id 2 is "c" to the teacher and "b" to the student');
    expect(() => load(['<pad>', 'a', 'b', 'x'])).toThrow('id 3 is "x"');
    expect(() => load(['<pad>', 'a', 'b'])).toThrow('id 3 is undefined to the teacher');
    expect(() => load(['<pad>', 'a', 'b', 'c', 'd'])).toThrow('id 4 is "d" to the teacher and undefined');
  });
});
