/** Owns the making of a character-level tokenizer in tokenizer.json format: BPE with no merges. */

import { ReckonError } from '../util/errors.ts';
import { Tokenizer } from './tokenizer.ts';
import type { TokenizerFiles } from './tokenizer-files.ts';

/** Ids 0, 1, 2 of every character tokenizer. */
export const specialTokens: readonly ['<pad>', '<bos>', '<eos>'] = ['<pad>', '<bos>', '<eos>'];

/**
 * A tokenizer whose tokens are single characters, with pad, bos and eos before them. In Python it loads as
 * `PreTrainedTokenizerFast`; `AutoTokenizer` of transformers 5 gives every qwen2 folder Qwen's own pre-tokenizer instead,
 * which loses spaces here.
 */
export function characterTokenizer(alphabet: readonly string[]): Tokenizer {
  return new Tokenizer(characterTokenizerFiles(alphabet));
}

function characterTokenizerFiles(alphabet: readonly string[]): TokenizerFiles {
  for (const character of alphabet) {
    if ([...character].length !== 1) {
      throw new ReckonError(
        'data',
        'bad-alphabet',
        `an alphabet holds single characters, found ${JSON.stringify(character)}`,
      );
    }
  }
  const vocab = Object.fromEntries([...specialTokens, ...new Set(alphabet)].map((token, id) => [token, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specialTokens.map((content, id) => ({ id, content, ...flags })),
      normalizer: null,
      pre_tokenizer: { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false },
      post_processor: null,
      decoder: { type: 'Fuse' },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: [],
      },
    },
    config: {
      tokenizer_class: 'PreTrainedTokenizerFast',
      pad_token: specialTokens[0],
      bos_token: specialTokens[1],
      eos_token: specialTokens[2],
      clean_up_tokenization_spaces: false,
      model_max_length: 1_000_000,
    },
  };
}
