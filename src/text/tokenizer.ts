/** Owns text to token ids and back, from a tokenizer.json folder; knows no model and no task. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { type CharacterIds, characterIds } from './character-ids.ts';
import { readTokenizerFiles, type TokenizerFiles } from './tokenizer-files.ts';

/** Encodes and decodes; the ids of the special tokens are looked up once. */
export class Tokenizer {
  readonly files: TokenizerFiles;
  /** Number of ids: the policy's vocabulary where the embedding has more rows. */
  readonly size: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** bos where the tokenizer begins a text with it; one that is named alone (GPT-2's, SmolLM2's) begins none. */
  readonly firstId: number | null;
  readonly padId: number | null;
  private readonly hub: HubTokenizer;
  private readonly tokens: ReadonlyMap<number, string>;
  private readonly added: ReadonlySet<number>;
  private readonly byteLevel: boolean;
  private readonly characters: CharacterIds | null;

  constructor(files: TokenizerFiles) {
    this.files = files;
    this.hub = new HubTokenizer(files.tokenizer, files.config);
    const vocabulary = this.hub.get_vocab(true);
    const ids = [...vocabulary.values()];
    const added = (files.tokenizer['added_tokens'] ?? []) as { id: number }[];
    this.tokens = new Map([...vocabulary].map(([token, id]) => [id, token]));
    this.added = new Set(added.map(({ id }) => id));
    this.byteLevel = JSON.stringify(files.tokenizer['decoder'] ?? null).includes('ByteLevel');
    this.characters = characterIds(files);
    this.size = ids.reduce((most, id) => Math.max(most, id + 1), 0);
    this.bosId = this.special('bos_token');
    this.eosId = this.special('eos_token');
    this.firstId = this.bosId !== null && this.putsFirst(this.bosId) ? this.bosId : null;
    this.padId = this.special('pad_token');
  }

  /** The ids of a text, without special tokens added around it. */
  encode(text: string): number[] {
    return this.characters?.(text) ?? this.hub.encode(text, { add_special_tokens: false }).ids;
  }

  /** The text of ids, special tokens left out. */
  decode(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.hub.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** The text of ids with their special tokens. */
  decodeAll(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.hub.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  /** The ids of a text with what the tokenizer adds around it. */
  encodeWithSpecial(text: string): number[] {
    return this.hub.encode(text).ids;
  }

  /** The text as the vocabulary sees it: composed by NFC, say, or as it is where the tokenizer changes nothing. */
  normalized(text: string): string {
    return this.hub.normalizer?.normalize(text) ?? text;
  }

  /** Where each id's bytes end in the UTF-8 text that they stand for (after the tokenizer's normalisation). */
  byteEnds(ids: readonly number[]): number[] {
    let end = 0;
    return ids.map((id) => {
      end += this.byteLength(id);
      return end;
    });
  }

  private byteLength(id: number): number {
    const token = this.tokens.get(id) ?? '';
    const isByteLevel = this.byteLevel && !this.added.has(id);
    return isByteLevel ? [...token].length : Buffer.byteLength(token);
  }

  /** `bos_token` and its like as text, for chat templates. */
  get specialTexts(): Readonly<Record<string, string>> {
    const names = ['bos_token', 'eos_token', 'pad_token', 'unk_token'];
    const texts = names.map((name) => [name, textOf(this.files.config[name])] as const);
    return Object.fromEntries(texts.filter((entry): entry is [string, string] => entry[1] !== undefined));
  }

  /** The id of a token's exact text, or null. */
  idOf(token: string): number | null {
    return this.hub.token_to_id(token) ?? null;
  }

  /** Writes tokenizer.json and tokenizer_config.json. */
  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'tokenizer.json'), `${JSON.stringify(this.files.tokenizer, null, 1)}\n`);
    writeFileSync(join(folder, 'tokenizer_config.json'), `${JSON.stringify(this.files.config, null, 2)}\n`);
  }

  /** As tokenizer.json's post-processor has it; reckon's own character tokenizers have none and begin every text. */
  private putsFirst(id: number): boolean {
    return this.characters !== null || this.encodeWithSpecial('')[0] === id;
  }

  private special(name: string): number | null {
    const text = textOf(this.files.config[name]);
    return text === undefined ? null : this.idOf(text);
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : (value as { content?: string } | null | undefined)?.content;
}

/** Loads the tokenizer of a model folder. */
export function loadTokenizer(folder: string): Tokenizer {
  return new Tokenizer(readTokenizerFiles(folder));
}
