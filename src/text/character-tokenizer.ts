/** Owns the making of a character-level tokenizer in tokenizer.json format: byte-level BPE with no merges. */

import { ReckonError } from '../util/errors.ts';
import { byteLevel, byteToken, characterPretokenizer } from './character-ids.ts';
import { Tokenizer } from './tokenizer.ts';
import type { TokenizerFiles } from './tokenizer-files.ts';

/** Ids 0, 1, 2 of every character tokenizer. */
export const specialTokens: readonly ['<pad>', '<bos>', '<eos>'] = ['<pad>', '<bos>', '<eos>'];

/**
 * A tokenizer whose tokens are single characters, with pad, bos and eos before them. An alphabet of ASCII is stored as
 * byte-level tokenizers store it, so that every reader agrees, `AutoTokenizer` of transformers 5 too, which gives a qwen2
 * folder Qwen's own pre-tokenizer whatever its file says; a larger alphabet is read right by the file alone.
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
  const isAscii = alphabet.every((character) => character.charCodeAt(0) < 128);
  const tokens = [...new Set(alphabet)].map((character) => (isAscii ? byteToken(character) : character));
  const vocab = Object.fromEntries([...specialTokens, ...tokens].map((token, id) => [token, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: specialTokens.map((content, id) => ({ id, content, ...flags })),
      normalizer: null,
      pre_tokenizer: characterPretokenizer(isAscii),
      post_processor: null,
      decoder: isAscii ? byteLevel : { type: 'Fuse' },
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
